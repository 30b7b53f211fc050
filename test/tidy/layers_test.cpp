#include "layers.hpp"

#include <gtest/gtest.h>

namespace sublet::tidy {
namespace {

const SourceFile kFd = make_file("runtime/base/fd.hpp", "#include <utility>\n");
const SourceFile kShm = make_file("runtime/transport/shm/ring.hpp", "#include <base/fd.hpp>\n");
const SourceFile kVerbs = make_file("runtime/transport/verbs/qp.hpp", "");
const SourceFile kSession = make_file("runtime/client/session.hpp", "#include <capnp/rpc.h>\n");

std::string layers(const std::vector<SourceFile>& files) {
  return to_text(check_layers(files));
}

TEST(Layers, AllowDownwards) {
  EXPECT_EQ(layers({kFd, kShm}), "");
  EXPECT_EQ(layers({kFd, make_file("manager/cli/x.cpp", "#include <base/fd.hpp>\n")}), "");
}

TEST(Layers, ForbidUpwards) {
  EXPECT_EQ(layers({kShm, make_file("runtime/base/x.cpp",
                                    "#include <string>\n#include <transport/shm/ring.hpp>\n")}),
            "runtime/base/x.cpp:2: base must not include shm ('runtime/transport/shm/ring.hpp')\n");
}

TEST(Layers, KeepTransportsApart) {
  const auto peer = make_file("runtime/transport/shm/x.cpp", "#include <transport/verbs/qp.hpp>\n");
  EXPECT_NE(layers({kVerbs, peer}), "");
  // One that is new too, whatever its name.
  const auto pigeon = make_file("runtime/transport/pigeon/loft.hpp", "");
  const auto shm =
      make_file("runtime/transport/shm/x.cpp", "#include <transport/pigeon/loft.hpp>\n");
  EXPECT_NE(layers({pigeon, shm}), "");
  const auto any =
      make_file("runtime/transport/any/x.cpp", "#include <transport/pigeon/loft.hpp>\n");
  EXPECT_EQ(layers({pigeon, any}), "");
}

TEST(Layers, LetOnlyTheFactoryNameTransports) {
  const auto text = "#include <transport/shm/ring.hpp>\n";
  EXPECT_EQ(layers({kFd, kShm, make_file("runtime/transport/any/any_channel.hpp", text)}), "");
  EXPECT_NE(layers({kFd, kShm, make_file("runtime/transport/contract.hpp", text)}), "");
  EXPECT_NE(layers({kFd, kShm, make_file("runtime/client/lease.cpp", text)}), "");
}

TEST(Layers, LetExamplesUseThePublicInterfaceOnly) {
  EXPECT_NE(layers({kFd, make_file("examples/x.cpp", "#include <base/fd.hpp>\n")}), "");
  EXPECT_EQ(layers({make_file("runtime/include/sublet/sublet.hpp", ""),
                    make_file("examples/x.cpp", "#include <sublet/sublet.hpp>\n")}),
            "");
}

TEST(Layers, KeepLibrariesInTheirWrappers) {
  EXPECT_EQ(layers({make_file("runtime/topology/x.cpp", "#include <hwloc.h>\n")}), "");
  EXPECT_EQ(layers({make_file("executor/x.cpp", "#include <hwloc.h>\n")}),
            "executor/x.cpp:1: <hwloc.h>: hwloc is wrapped by runtime/topology/\n");
  EXPECT_NE(layers({make_file("runtime/client/x.cpp", "#include <mpi.h>\n")}), "");
  EXPECT_NE(layers({make_file("runtime/base/x.cpp", "#include <wire/control.capnp.h>\n")}), "");
}

TEST(Layers, FindWhatIsReachedThroughOurOwnHeaders) {
  const auto middle = make_file("runtime/wire/rpc.hpp", "#include <kj/async.h>\n");
  const auto executor = make_file("executor/x.cpp", "#include <wire/rpc.hpp>\n");
  EXPECT_EQ(layers({middle, executor}), "");
  EXPECT_EQ(to_text(check_reach({middle, executor})),
            "executor/x.cpp: reaches Cap'n Proto: executor/x.cpp -> runtime/wire/rpc.hpp -> "
            "kj/async.h\n");
  EXPECT_EQ(to_text(check_reach({kSession, executor})), "");
}

}  // namespace
}  // namespace sublet::tidy
