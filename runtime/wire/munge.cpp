#include <base/printable_text.hpp>
#include <wire/munge.hpp>

#include <dlfcn.h>
#include <munge.h>
#include <sodium.h>
#include <sys/stat.h>

#include <cstdlib>
#include <memory>

namespace sublet::wire {
namespace {

/// What is used of libmunge. Stays loaded.
struct MungeLibrary {
  decltype(&::munge_encode) encode = nullptr;
  decltype(&::munge_decode) decode = nullptr;
  decltype(&::munge_ctx_create) create = nullptr;
  decltype(&::munge_ctx_destroy) destroy = nullptr;
  decltype(&::munge_ctx_get) get = nullptr;
  decltype(&::munge_ctx_set) set = nullptr;
  decltype(&::munge_ctx_strerror) text = nullptr;
  decltype(&::munge_strerror) error = nullptr;
  std::string missing;  ///< Why it cannot be used; empty: it can.

  MungeLibrary() {
    void* const library = ::dlopen("libmunge.so.2", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      missing = "libmunge.so.2 is not installed (package libmunge2)";
      return;
    }
    const auto find = [&](auto& function, const char* name) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
      if (function == nullptr) (missing = "libmunge.so.2 has no ") += name;
    };
    find(encode, "munge_encode");
    find(decode, "munge_decode");
    find(create, "munge_ctx_create");
    find(destroy, "munge_ctx_destroy");
    find(get, "munge_ctx_get");
    find(set, "munge_ctx_set");
    find(text, "munge_ctx_strerror");
    find(error, "munge_strerror");
  }
};

const MungeLibrary& munge_library() {
  static const MungeLibrary library;
  return library;
}

struct DestroyContext {
  void operator()(munge_ctx* context) const { munge_library().destroy(context); }
};
using Context = std::unique_ptr<munge_ctx, DestroyContext>;

Context make_context() {
  Context context(munge_library().create());
  const char* const socket = std::getenv("SUBLET_MUNGE_SOCKET");
  if (context != nullptr && socket != nullptr && *socket != '\0') {
    munge_library().set(context.get(), MUNGE_OPT_SOCKET, socket);
  }
  return context;
}

tl::unexpected<Error> munge_error(const char* attempted, const Context& context, munge_err_t code) {
  const MungeLibrary& library = munge_library();
  const char* text = library.text(context.get());
  if (text == nullptr) text = library.error(code);
  std::string advice;
  if (code == EMUNGE_SOCKET) advice = "; does munged run?";
  if (code == EMUNGE_CRED_INVALID) advice = "; do both nodes have the same munge.key?";
  if (code == EMUNGE_CRED_EXPIRED || code == EMUNGE_CRED_REWOUND) {
    advice = "; do the clocks of both nodes agree?";
  }
  return fail(ErrorKind::kDenied, std::string(attempted) + ": " + base::printable(text) + advice);
}

}  // namespace

Result<void> munge_available() {
  const MungeLibrary& library = munge_library();
  if (!library.missing.empty()) return fail(ErrorKind::kUnsupported, library.missing);
  const Context context = make_context();
  const char* socket = nullptr;
  struct stat info {};
  if (context == nullptr ||
      library.get(context.get(), MUNGE_OPT_SOCKET, &socket) != EMUNGE_SUCCESS ||
      socket == nullptr || ::stat(socket, &info) != 0) {
    return fail(ErrorKind::kUnsupported, std::string("munged does not run (") +
                                             (socket == nullptr ? "its socket" : socket) +
                                             " is not there)");
  }
  return {};
}

Result<std::string> munge_encode(std::span<const unsigned char> payload) {
  const MungeLibrary& library = munge_library();
  if (!library.missing.empty()) return fail(ErrorKind::kUnsupported, library.missing);
  const Context context = make_context();
  char* credential = nullptr;
  const munge_err_t code =
      library.encode(&credential, context.get(), payload.data(), static_cast<int>(payload.size()));
  const std::unique_ptr<char, decltype(&std::free)> owned(credential, &std::free);
  if (code != EMUNGE_SUCCESS) return munge_error("asking munged for a credential", context, code);
  return std::string(credential);
}

Result<MungeUser> munge_decode(const std::string& credential,
                               std::span<const unsigned char> payload) {
  const MungeLibrary& library = munge_library();
  if (!library.missing.empty()) return fail(ErrorKind::kUnsupported, library.missing);
  const Context context = make_context();
  void* content = nullptr;
  int size = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  const munge_err_t code =
      library.decode(credential.c_str(), context.get(), &content, &size, &uid, &gid);
  const std::unique_ptr<void, decltype(&std::free)> owned(content, &std::free);
  if (code != EMUNGE_SUCCESS) {
    return munge_error("asking munged about a credential", context, code);
  }
  if (size < 0 || static_cast<std::size_t>(size) != payload.size() || content == nullptr ||
      sodium_memcmp(content, payload.data(), payload.size()) != 0) {
    return fail(ErrorKind::kDenied,
                "a MUNGE credential of uid " + std::to_string(uid) +
                    " was made for another connection: somebody relays or repeats it");
  }
  return MungeUser{uid, gid};
}

}  // namespace sublet::wire
