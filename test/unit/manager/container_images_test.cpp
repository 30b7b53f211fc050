#include <executor_manager/container_images.hpp>

#include <gtest/gtest.h>

#include <string>

namespace sublet::manager {
namespace {

std::string refusal(const Result<std::string>& chosen) {
  EXPECT_FALSE(chosen) << *chosen;
  return chosen ? std::string() : chosen.error().what();
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(ContainerImages, AreTheDefaultForWhatNamesNone) {
  const auto images = ContainerImages::make("docker.io/library/debian:12", {}).value_or_throw();
  EXPECT_EQ(images.choose("liba.so", "").value_or_throw(), "docker.io/library/debian:12");
  EXPECT_EQ(images.choose("liba.so", "docker.io/library/debian:12").value_or_throw(),
            "docker.io/library/debian:12");
  const auto none = ContainerImages::make("", {"a*"}).value_or_throw();
  const std::string why = refusal(none.choose("liba.so", ""));
  EXPECT_TRUE(mentions(why, "'liba.so' names no image")) << why;
  EXPECT_TRUE(mentions(why, "--image")) << why;
}

TEST(ContainerImages, AreThoseThatTheOperatorAllows) {
  const auto images =
      ContainerImages::make("", {"registry/one:1", "registry/team/*"}).value_or_throw();
  EXPECT_TRUE(images.choose("liba.so", "registry/one:1"));
  EXPECT_TRUE(images.choose("liba.so", "registry/team/any@sha256:00"));
  for (const char* const other : {"registry/one:12", "registry/one", "registry/team", "team/x"}) {
    const auto chosen = images.choose("liba.so", other);
    EXPECT_TRUE(mentions(refusal(chosen), "--allow-image")) << other;
    EXPECT_EQ(chosen.error().kind(), ErrorKind::kDenied);
  }
}

/// What a library names becomes a word of a command.
TEST(ContainerImages, HaveNamesThatAreNothingElse) {
  const auto all = ContainerImages::make("", {"a*", "z"}).value_or_throw();
  for (const std::string& name :
       {std::string("--privileged"), std::string("/etc"), std::string("../x"), std::string("a b"),
        std::string("a\n"), std::string("a;b"), std::string("a*"), std::string(256, 'a')}) {
    const auto chosen = all.choose("liba.so", name);
    EXPECT_TRUE(mentions(refusal(chosen), "no name of an image")) << name;
    EXPECT_FALSE(ContainerImages::make(name, {})) << name;
  }
  EXPECT_FALSE(ContainerImages::make("", {"*"}));
  EXPECT_FALSE(ContainerImages::make("", {"a*b"}));
  EXPECT_FALSE(ContainerImages::make("", {"--x*"}));
}

}  // namespace
}  // namespace sublet::manager
