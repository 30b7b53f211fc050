#include "datatype.hpp"

#include "agreement.hpp"

#include <algorithm>
#include <array>
#include <climits>
#include <cstdint>
#include <string>
#include <vector>

namespace sublet::mpi {
namespace {

/// Packed at a time: well below what an int can count.
constexpr std::size_t kStepBytes = std::size_t{1} << 30;

/// True for the basic types, and for contiguous ones of those: memory is as MPI would pack it.
bool lies_dense(MPI_Datatype type) {
  int integers = 0;
  int addresses = 0;
  int types = 0;
  int combiner = MPI_COMBINER_NAMED;
  if (MPI_Type_get_envelope(type, &integers, &addresses, &types, &combiner) != MPI_SUCCESS) {
    return false;
  }
  if (combiner == MPI_COMBINER_NAMED) {
    MPI_Count size = 0;
    MPI_Count lower = 0;
    MPI_Count extent = 0;
    MPI_Type_size_x(type, &size);
    MPI_Type_get_extent_x(type, &lower, &extent);
    return size == extent && lower == 0;  // not MPI_DOUBLE_INT
  }
  if (combiner != MPI_COMBINER_CONTIGUOUS && combiner != MPI_COMBINER_DUP) return false;
  std::vector<int> counts(static_cast<std::size_t>(std::max(integers, 1)));
  std::vector<MPI_Aint> places(static_cast<std::size_t>(std::max(addresses, 1)));
  std::vector<MPI_Datatype> of(static_cast<std::size_t>(std::max(types, 1)));
  if (MPI_Type_get_contents(type, integers, addresses, types, counts.data(), places.data(),
                            of.data()) != MPI_SUCCESS) {
    return false;
  }
  const bool dense = lies_dense(of.front());
  int inner = MPI_COMBINER_NAMED;
  MPI_Type_get_envelope(of.front(), &integers, &addresses, &types, &inner);
  if (inner != MPI_COMBINER_NAMED) MPI_Type_free(&of.front());
  return dense;
}

tl::unexpected<Error> invalid(const std::string& text) {
  return fail(ErrorKind::kInvalid, "describing elements by an MPI datatype: " + text);
}

}  // namespace

template <class Step>
Result<void> Elements::in_steps(MPI_Count count, Step&& step) const {
  if (count == 0) return {};
  const auto at_a_time =
      static_cast<MPI_Count>(std::max<std::size_t>(kStepBytes / element_bytes_, 1));
  std::size_t packed = 0;
  for (MPI_Count done = 0; done < count;) {
    const auto elements = static_cast<int>(std::min(at_a_time, count - done));
    const std::size_t bytes = static_cast<std::size_t>(elements) * element_bytes_;
    if (auto stepped = step(done * extent_, packed, elements, static_cast<int>(bytes)); !stepped) {
      return stepped;
    }
    done += elements;
    packed += bytes;
  }
  return {};
}

Result<void> Elements::describe(MPI_Comm comm, MPI_Count count, MPI_Datatype type) {
  if (type == MPI_DATATYPE_NULL) return invalid("it is MPI_DATATYPE_NULL");
  if (count < 0) return invalid("there cannot be " + std::to_string(count) + " of them");
  MPI_Count size = 0;
  MPI_Count lower = 0;
  MPI_Count extent = 0;
  int code = MPI_Type_size_x(type, &size);
  if (code == MPI_SUCCESS) code = MPI_Type_get_extent_x(type, &lower, &extent);
  if (code != MPI_SUCCESS) return invalid(mpi_error(code, "looking at it").what());
  if (size < 0 || (count > 0 && size > PTRDIFF_MAX / count)) {
    return invalid(std::to_string(count) + " elements of " + std::to_string(size) +
                   " bytes are more than any memory holds");
  }
  // MPI alone knows whether a type is committed; packing nothing makes it look.
  int position = 0;
  char nothing = 0;
  code = MPI_Pack(&nothing, 0, type, &nothing, 0, &position, comm);
  if (code != MPI_SUCCESS) {
    return invalid(std::string(mpi_error(code, "packing it").what()) +
                   "; has MPI_Type_commit been called?");
  }
  is_dense_ = lies_dense(type);
  if (!is_dense_ && size > static_cast<MPI_Count>(kStepBytes)) {
    return fail(ErrorKind::kUnsupported,
                "describing elements by an MPI datatype: one element has " + std::to_string(size) +
                    " bytes, more than MPI packs at once; describe it as several smaller ones");
  }
  if (code = MPI_Type_dup(type, &type_); code != MPI_SUCCESS) {
    type_ = MPI_DATATYPE_NULL;
    return tl::unexpected<Error>(mpi_error(code, "duplicating a datatype"));
  }
  count_ = size == 0 ? 0 : count;
  extent_ = extent;
  element_bytes_ = static_cast<std::size_t>(size);
  bytes_ = static_cast<std::size_t>(size) * static_cast<std::size_t>(count_);
  return {};
}

Result<void> Elements::pack(MPI_Comm comm, const void* from, std::byte* packed) const {
  const auto* memory = static_cast<const std::byte*>(from);
  return in_steps(
      count_, [&](MPI_Count at, std::size_t to, int elements, int bytes) -> Result<void> {
        int position = 0;
        const int code =
            MPI_Pack(memory + at, elements, type_, packed + to, bytes, &position, comm);
        if (code != MPI_SUCCESS) return tl::unexpected<Error>(mpi_error(code, "packing an input"));
        if (position == bytes) return {};
        return fail(ErrorKind::kUnsupported, "packing an input: MPI packed " +
                                                 std::to_string(bytes) + " bytes of values into " +
                                                 std::to_string(position) +
                                                 ", in a form that functions cannot read");
      });
}

Result<void> Elements::unpack(MPI_Comm comm, const std::byte* packed, std::size_t size,
                              void* to) const {
  if (size == 0) return {};
  if (element_bytes_ == 0 || size % element_bytes_ != 0 || size > bytes_) {
    return fail(ErrorKind::kInvalid, "unpacking an output: the function returned " +
                                         std::to_string(size) +
                                         " bytes, no whole number of elements of " +
                                         std::to_string(element_bytes_) + " bytes");
  }
  auto* memory = static_cast<std::byte*>(to);
  const auto count = static_cast<MPI_Count>(size / element_bytes_);
  return in_steps(
      count, [&](MPI_Count at, std::size_t from, int elements, int bytes) -> Result<void> {
        int position = 0;
        const int code =
            MPI_Unpack(packed + from, bytes, &position, memory + at, elements, type_, comm);
        if (code == MPI_SUCCESS) return {};
        return tl::unexpected<Error>(mpi_error(code, "unpacking an output"));
      });
}

void Elements::release() noexcept {
  if (type_ != MPI_DATATYPE_NULL) MPI_Type_free(&type_);
}

}  // namespace sublet::mpi
