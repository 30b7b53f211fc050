#include "support/child_process.hpp"
#include "support/temp_directory.hpp"
#include <wire/handshake.hpp>
#include <wire/munge.hpp>
#include <wire/secure_stream.hpp>

#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sublet::wire {
namespace {

using Bytes = std::vector<kj::byte>;
using TrustPtr = std::shared_ptr<const Trust>;

/// What passes between client and server, one direction at a time, and may be changed there.
using Tamper = std::function<void(bool from_client, std::size_t offset, Bytes& bytes)>;

std::string text_of(const Result<SecuredStream>& result) {
  return result ? "no error" : result.error().what();
}

class Handshake : public ::testing::Test {
 protected:
  static constexpr kj::Duration kLimit = 20 * kj::SECONDS;

  struct Opened {
    Result<SecuredStream> client = fail(ErrorKind::kInternal, "not done");
    Result<SecuredStream> server = fail(ErrorKind::kInternal, "not done");
    [[nodiscard]] bool neither() const { return !client && !server; }
  };

  TrustPtr with_key(const std::string& name) {
    const std::string path = directory_.path() + "/" + name;
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) {
      EXPECT_TRUE(Key::make(path));
    }
    return Trust::load({.key_files = {path}});
  }
  /// Nothing at all: no file is there.
  static TrustPtr with_nothing(bool insecure) {
    ::setenv("SUBLET_KEY_FILE", ",", 1);
    ::setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    auto trust = Trust::load({.insecure = insecure});
    ::unsetenv("SUBLET_KEY_FILE");
    return trust;
  }

  /// Moves bytes from one end to the other until either closes.
  kj::Promise<void> pump(kj::AsyncIoStream& from, kj::AsyncIoStream& to, bool from_client,
                         const Tamper& tamper, std::size_t offset = 0) {
    auto buffer = kj::heapArray<kj::byte>(8192);
    auto reading = from.tryRead(buffer.begin(), 1, buffer.size());
    return reading.then([&, from_client, offset,
                         buffer = kj::mv(buffer)](std::size_t n) mutable -> kj::Promise<void> {
      if (n == 0) {
        to.shutdownWrite();
        return kj::READY_NOW;
      }
      auto bytes = std::make_shared<Bytes>(buffer.begin(), buffer.begin() + n);
      if (tamper) tamper(from_client, offset, *bytes);
      return to.write(bytes->data(), bytes->size())
          .attach(kj::heap<std::shared_ptr<Bytes>>(bytes))
          .then([&, from_client, offset, n]() -> kj::Promise<void> {
            if (!loop_->ends) return pump(from, to, from_client, tamper, offset + n);
            to.shutdownWrite();
            return kj::READY_NOW;
          });
    });
  }

  /// Both ends, with whoever tampers in between. An end that fails closes its connection.
  Opened open(const TrustPtr& client, const TrustPtr& server, const Tamper& tamper = {}) {
    loop_->between = nullptr;
    loop_->tamper = tamper;
    loop_->ends = false;
    auto left = loop_->io.provider->newTwoWayPipe();
    auto right = loop_->io.provider->newTwoWayPipe();
    auto pumps = kj::heapArrayBuilder<kj::Promise<void>>(2);
    // A connection that is closed before all was read ends with an error.
    const auto closing = [](kj::AsyncIoStream& to) {
      return [&to](kj::Exception&&) { to.shutdownWrite(); };
    };
    pumps.add(pump(*left.ends[1], *right.ends[0], true, loop_->tamper)
                  .catch_(closing(*right.ends[0]))
                  .eagerlyEvaluate(nullptr));
    pumps.add(pump(*right.ends[0], *left.ends[1], false, loop_->tamper)
                  .catch_(closing(*left.ends[1]))
                  .eagerlyEvaluate(nullptr));
    auto between =
        kj::joinPromises(pumps.finish()).catch_([](kj::Exception&&) {}).eagerlyEvaluate(nullptr);
    Opened opened;
    auto one = secure_as_client(kj::mv(left.ends[0]), client, "tcp:test:1")
                   .then([&](Result<SecuredStream>&& result) { opened.client = kj::mv(result); });
    auto other =
        secure_as_server(kj::mv(right.ends[1]), server).then([&](Result<SecuredStream>&& result) {
          opened.server = kj::mv(result);
        });
    auto ends = kj::heapArrayBuilder<kj::Promise<void>>(2);
    // Each at once: an end that fails closes its connection, which the other waits for.
    ends.add(one.eagerlyEvaluate(nullptr));
    ends.add(other.eagerlyEvaluate(nullptr));
    auto both = kj::joinPromises(ends.finish());
    auto late = loop_->io.provider->getTimer().afterDelay(kLimit).then([&opened] {
      ADD_FAILURE() << "the handshake hangs: client " << opened.client.has_value()
                    << text_of(opened.client) << ", server " << opened.server.has_value()
                    << text_of(opened.server);
    });
    both.exclusiveJoin(kj::mv(late)).wait(loop_->io.waitScope);
    loop_->between = kj::mv(between);
    loop_->left = kj::mv(left);
    loop_->right = kj::mv(right);
    return opened;
  }

  /// Sends `sent` from one to the other, and returns what comes.
  Bytes send(kj::AsyncIoStream& from, kj::AsyncIoStream& to, const Bytes& sent) {
    Bytes got(sent.size());
    auto reading = to.tryRead(got.data(), got.size(), got.size());
    auto writing = from.write(sent.data(), sent.size());
    auto n = reading
                 .exclusiveJoin(loop_->io.provider->getTimer().afterDelay(kLimit).then(
                     [] { return std::size_t{0}; }))
                 .wait(loop_->io.waitScope);
    got.resize(n);
    writing.wait(loop_->io.waitScope);
    return got;
  }

  test::TempDirectory directory_;
  /// Destructors of KJ may throw, one of a test may not.
  struct Loop {
    kj::AsyncIoContext io = kj::setupAsyncIo();
    Tamper tamper;
    bool ends = false;  ///< Nothing passes after what was tampered with last.
    kj::Promise<void> between = nullptr;
    kj::TwoWayPipe left;
    kj::TwoWayPipe right;
  };
  std::unique_ptr<Loop> loop_ = std::make_unique<Loop>();
};

Bytes pattern(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<kj::byte>(i * 131 + i / 251);
  return bytes;
}

TEST_F(Handshake, OpensWithTheSameKeyAndSaysWhoseItIs) {
  Opened opened = open(with_key("a"), with_key("a"));
  ASSERT_TRUE(opened.client) << text_of(opened.client);
  ASSERT_TRUE(opened.server) << text_of(opened.server);
  EXPECT_EQ(opened.server->peer.kind, ProofKind::kKey);
  EXPECT_EQ(opened.server->peer.uid, ::geteuid());
}

TEST_F(Handshake, GivesEachConnectionANameThatBothItsEndsKnow) {
  std::vector<ChannelBinding> names{ChannelBinding{}};
  for (const auto& trust : {with_key("a"), with_key("a"), with_nothing(true)}) {
    const Opened opened = open(trust, trust);
    ASSERT_TRUE(opened.client && opened.server) << text_of(opened.client);
    const ChannelBinding name = channel_binding(*opened.client->stream);
    EXPECT_EQ(name, channel_binding(*opened.server->stream));
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 0);
    names.push_back(name);
  }
}

TEST_F(Handshake, CarriesBytesOfEverySizeBothWays) {
  Opened opened = open(with_key("a"), with_key("a"));
  ASSERT_TRUE(opened.client && opened.server);
  auto& client = *opened.client->stream;
  auto& server = *opened.server->stream;
  for (const std::size_t size :
       {1u, 7u, 4095u, 4096u, 4097u, 65535u, 65536u, 65537u, 262144u, 3000001u}) {
    const Bytes bytes = pattern(size);
    EXPECT_TRUE(send(client, server, bytes) == bytes) << size;
    EXPECT_TRUE(send(server, client, bytes) == bytes) << size;
  }
}

TEST_F(Handshake, SendsNothingInClear) {
  Bytes seen;
  const Tamper listen = [&seen](bool, std::size_t, Bytes& bytes) {
    seen.insert(seen.end(), bytes.begin(), bytes.end());
  };
  Opened opened = open(with_key("a"), with_key("a"), listen);
  ASSERT_TRUE(opened.client && opened.server);
  const std::string secret = "the token of a grant";
  const Bytes bytes(secret.begin(), secret.end());
  EXPECT_EQ(send(*opened.client->stream, *opened.server->stream, bytes), bytes);
  EXPECT_EQ(std::search(seen.begin(), seen.end(), bytes.begin(), bytes.end()), seen.end());
}

TEST_F(Handshake, RefusesAnotherKeyAndSaysSoToBothEnds) {
  Opened opened = open(with_key("a"), with_key("b"));
  ASSERT_TRUE(opened.neither());
  EXPECT_EQ(opened.client.error().kind(), ErrorKind::kDenied);
  EXPECT_NE(text_of(opened.client).find("It has another key"), std::string::npos)
      << text_of(opened.client);
}

TEST_F(Handshake, IsNotTriedWithNothingToProve) {
  if (munge_available()) GTEST_SKIP() << "munged runs here";
  Opened opened;
  auto pipe = loop_->io.provider->newTwoWayPipe();
  const auto refused = secure_as_client(kj::mv(pipe.ends[0]), with_nothing(false), "tcp:test:1")
                           .wait(loop_->io.waitScope);
  ASSERT_FALSE(refused);
  EXPECT_NE(text_of(refused).find("sublet key new"), std::string::npos) << text_of(refused);
}

TEST_F(Handshake, DoesWithoutProofOnlyWhereBothEndsWantTo) {
  Opened both = open(with_nothing(true), with_nothing(true));
  ASSERT_TRUE(both.client && both.server) << text_of(both.client);
  EXPECT_EQ(both.server->peer.kind, ProofKind::kNone);
  EXPECT_EQ(both.server->peer.uid, kNobodyKnown);
  if (munge_available()) GTEST_SKIP() << "munged runs here";
  Opened server = open(with_key("a"), with_nothing(true));
  ASSERT_TRUE(server.neither());
  EXPECT_NE(text_of(server.client).find("SUBLET_INSECURE=1"), std::string::npos);
  EXPECT_TRUE(open(with_nothing(true), with_key("a")).neither());
}

/// Everything that a whole handshake sends in one direction.
TEST_F(Handshake, IsRefusedWithAnyBitOfItChanged) {
  const TrustPtr trust = with_key("a");
  std::array<std::size_t, 2> sent{};
  {
    const Opened good = open(trust, trust, [&](bool from_client, std::size_t offset, Bytes& bytes) {
      sent[from_client ? 0 : 1] = offset + bytes.size();
    });
    ASSERT_TRUE(good.client && good.server);
  }
  for (const bool from_client : {true, false}) {
    const std::size_t size = sent[from_client ? 0 : 1];
    ASSERT_GT(size, 80u);
    for (std::size_t at = 0; at < size; ++at) {
      const Opened opened = open(trust, trust, [&](bool client, std::size_t offset, Bytes& bytes) {
        if (client != from_client || at < offset || at >= offset + bytes.size()) return;
        bytes[at - offset] ^= static_cast<kj::byte>(1u << (at % 8));
        // Where more bytes are announced than there are, their receiver waits for its deadline.
        loop_->ends = at >= (from_client ? 48u : 40u);
      });
      // Who sent the last record cannot know that it was changed; its receiver does.
      EXPECT_FALSE(opened.client && opened.server) << from_client << " " << at;
      EXPECT_FALSE(from_client ? opened.server.has_value() : opened.client.has_value())
          << from_client << " " << at;
    }
  }
}

TEST_F(Handshake, IsWorthNothingWhenItIsRepeated) {
  const TrustPtr trust = with_key("a");
  Bytes recorded;
  ASSERT_TRUE(open(trust, trust, [&](bool from_client, std::size_t, Bytes& bytes) {
                if (from_client) recorded.insert(recorded.end(), bytes.begin(), bytes.end());
              }).server);
  auto pipe = loop_->io.provider->newTwoWayPipe();
  auto writing = pipe.ends[0]->write(recorded.data(), recorded.size());
  auto answer = secure_as_server(kj::mv(pipe.ends[1]), trust).wait(loop_->io.waitScope);
  EXPECT_FALSE(answer);
  EXPECT_EQ(answer.error().kind(), ErrorKind::kDenied);
}

TEST_F(Handshake, OfWhatIsNoneIsToldFromOneThatFails) {
  const std::string http = "GET / HTTP/1.1\r\nHost: somebody\r\nAccept: everything, really\r\n\r\n";
  auto pipe = loop_->io.provider->newTwoWayPipe();
  auto writing = pipe.ends[0]->write(http.data(), http.size());
  const auto answer =
      secure_as_server(kj::mv(pipe.ends[1]), with_key("a")).wait(loop_->io.waitScope);
  ASSERT_FALSE(answer);
  EXPECT_NE(text_of(answer).find("not how a connection to a manager begins"), std::string::npos);
}

TEST_F(Handshake, StreamEndsAtARecordThatWasChangedRepeatedOrLeftOut) {
  enum class How { kChanged, kRepeated, kLeftOut };
  for (const How how : {How::kChanged, How::kRepeated, How::kLeftOut}) {
    bool open_now = false;
    int records = 0;
    Opened opened = open(with_key("a"), with_key("a"), [&](bool client, std::size_t, Bytes& bytes) {
      if (!open_now || !client || ++records != 1) return;
      // The first record, whatever has come with it.
      constexpr std::ptrdiff_t kRecord = 4 + 100 + 17;
      ASSERT_GE(bytes.size(), std::size_t{kRecord});
      const auto first = bytes.begin();
      if (how == How::kChanged) bytes[kRecord - 1] ^= 1;
      if (how == How::kLeftOut) bytes.erase(first, first + kRecord);
      if (how == How::kRepeated) {
        const Bytes copy(first, first + kRecord);
        bytes.insert(bytes.begin(), copy.begin(), copy.end());
      }
    });
    ASSERT_TRUE(opened.client && opened.server);
    open_now = true;
    auto& server = *opened.server->stream;
    const Bytes bytes = pattern(100);
    Bytes got(300);
    bool failed = false;
    auto reading = server.tryRead(got.data(), got.size(), got.size())
                       .then([](std::size_t) {}, [&](kj::Exception&&) { failed = true; });
    auto& client = *opened.client->stream;
    for (int i = 0; i < 3; ++i) client.write(bytes.data(), bytes.size()).wait(loop_->io.waitScope);
    client.shutdownWrite();
    reading.wait(loop_->io.waitScope);
    EXPECT_TRUE(failed) << static_cast<int>(how);
  }
}

/// With a munged of its own.
class MungeHandshake : public Handshake {
 protected:
  void SetUp() override {
    if (::system("command -v munged >/dev/null") != 0) GTEST_SKIP() << "munged is not installed";
    const std::string at = directory_.path();
    const std::string start =
        "set -e; chmod 0711 " + at + "; mkdir -m 0700 " + at + "/m; mkdir -m 0755 " + at +
        "/s; head -c 1024 /dev/urandom >" + at + "/m/key; chmod 400 " + at +
        "/m/key; munged --force --key-file=" + at + "/m/key --socket=" + at +
        "/s/socket --pid-file=" + at + "/m/pid --log-file=" + at + "/m/log --seed-file=" + at +
        "/m/seed --num-threads=2 >/dev/null 2>&1";
    if (::system(start.c_str()) != 0) GTEST_SKIP() << "munged does not start here";
    ::setenv("SUBLET_MUNGE_SOCKET", (at + "/s/socket").c_str(), 1);
    started_ = true;
  }
  void TearDown() override {
    ::unsetenv("SUBLET_MUNGE_SOCKET");
    if (!started_) return;
    EXPECT_EQ(::system(("kill $(cat " + directory_.path() + "/m/pid)").c_str()), 0);
  }
  bool started_ = false;
};

TEST_F(MungeHandshake, OpensAndSaysWhoCalls) {
  const TrustPtr trust = with_nothing(false);
  Opened opened = open(trust, trust);
  ASSERT_TRUE(opened.client) << text_of(opened.client);
  ASSERT_TRUE(opened.server) << text_of(opened.server);
  EXPECT_EQ(opened.server->peer.kind, ProofKind::kMunge);
  EXPECT_EQ(opened.server->peer.uid, ::geteuid());
  const Bytes bytes = pattern(1000);
  EXPECT_EQ(send(*opened.client->stream, *opened.server->stream, bytes), bytes);
}

TEST_F(MungeHandshake, IsWorthNothingForAnotherConnection) {
  const TrustPtr trust = with_nothing(false);
  const std::array<unsigned char, 3> one = {1, 2, 3};
  const std::array<unsigned char, 3> other = {1, 2, 4};
  const auto credential = munge_encode(one);
  ASSERT_TRUE(credential);
  const auto relayed = munge_decode(*credential, other);
  ASSERT_FALSE(relayed);
  EXPECT_NE(std::string(relayed.error().what()).find("another connection"), std::string::npos);
  const auto fresh = munge_encode(one);
  ASSERT_TRUE(munge_decode(*fresh, one));
  const auto repeated = munge_decode(*fresh, one);
  ASSERT_FALSE(repeated);
  EXPECT_EQ(repeated.error().kind(), ErrorKind::kDenied);
}

TEST_F(MungeHandshake, SaysThatMungedDoesNotAnswer) {
  const TrustPtr trust = with_nothing(false);
  // Its socket is there, and nobody behind it.
  ASSERT_EQ(::system(("kill -9 $(cat " + directory_.path() + "/m/pid)").c_str()), 0);
  started_ = false;
  Opened opened = open(trust, trust);
  EXPECT_TRUE(opened.neither());
  EXPECT_NE(text_of(opened.client).find("does munged run?"), std::string::npos)
      << text_of(opened.client);
}

}  // namespace
}  // namespace sublet::wire
