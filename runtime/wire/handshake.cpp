#include <wire/handshake.hpp>
#include <wire/munge.hpp>
#include <wire/secure_stream.hpp>
#include <wire/side_thread.hpp>

#include <kj/debug.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

namespace sublet::wire {
namespace {

constexpr std::array<unsigned char, 4> kMagic = {'S', 'b', 'l', 'c'};
constexpr unsigned char kVersion = 1;
constexpr std::size_t kMostCredential = 4096;
/// Of one process at one time; those of honest peers take a millisecond.
constexpr int kMostMungeCalls = 64;

enum class Status : unsigned char { kGood = 0, kOtherVersion = 1, kNoCommonProof = 2 };

unsigned char bit(ProofKind kind) {
  return static_cast<unsigned char>(1u << static_cast<unsigned>(kind));
}

using PublicKey = std::array<unsigned char, crypto_scalarmult_BYTES>;

// As they are sent: bytes alone, no padding.
struct Hello {
  std::array<unsigned char, 4> magic = kMagic;
  unsigned char version = kVersion;
  unsigned char proofs = 0;
  std::array<unsigned char, 2> zero{};
  Key::Id key{};
  PublicKey fresh{};
};
static_assert(sizeof(Hello) == 48 && alignof(Hello) == 1);

struct Welcome {
  std::array<unsigned char, 4> magic = kMagic;
  unsigned char version = kVersion;
  Status status = Status::kGood;
  ProofKind proof = ProofKind::kNone;
  unsigned char proofs = 0;  ///< What the server has; for the client's error.
  PublicKey fresh{};
};
static_assert(sizeof(Welcome) == 40 && alignof(Welcome) == 1);

/// A secret number of this connection alone.
struct FreshKey {
  std::array<unsigned char, crypto_scalarmult_SCALARBYTES> secret{};
  PublicKey open{};

  FreshKey() {
    randombytes_buf(secret.data(), secret.size());
    crypto_scalarmult_base(open.data(), secret.data());
  }
  ~FreshKey() { sodium_memzero(secret.data(), secret.size()); }
  FreshKey(const FreshKey&) = delete;
  FreshKey& operator=(const FreshKey&) = delete;
};

using Hash = ChannelBinding;

enum class Side : unsigned char { kClient, kServer };

/// What both ends know once Hello and Welcome have passed.
struct Agreement {
  Hash transcript{};
  SecureStream::StreamKey client_sends{};
  SecureStream::StreamKey server_sends{};
  ProofKind proof = ProofKind::kNone;
  const Key* key = nullptr;  ///< Where it is the proof; the trust's.

  Agreement() = default;
  Agreement(const Agreement&) = default;
  Agreement& operator=(const Agreement&) = default;
  ~Agreement() {
    sodium_memzero(client_sends.data(), client_sends.size());
    sodium_memzero(server_sends.data(), server_sends.size());
  }

  /// False when the other's fresh key is none.
  bool make(const FreshKey& own, const PublicKey& other, const Hello& hello,
            const Welcome& welcome) {
    static constexpr char kName[] = "sublet control 1";
    crypto_generichash_state state;
    crypto_generichash_init(&state, nullptr, 0, transcript.size());
    const auto add = [&state](const auto& bytes) {
      crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(&bytes),
                                sizeof(bytes));
    };
    add(kName);
    add(hello);
    add(welcome);
    crypto_generichash_final(&state, transcript.data(), transcript.size());
    PublicKey shared{};
    if (crypto_scalarmult(shared.data(), own.secret.data(), other.data()) != 0) return false;
    std::array<unsigned char, 64> keys{};
    static_assert(sizeof(keys) == sizeof(client_sends) + sizeof(server_sends));
    if (key == nullptr) {
      crypto_generichash_init(&state, nullptr, 0, keys.size());
    } else {
      crypto_generichash_init(&state, key->bytes().data(), key->bytes().size(), keys.size());
    }
    add(shared);
    add(transcript);
    crypto_generichash_final(&state, keys.data(), keys.size());
    std::copy_n(keys.begin(), client_sends.size(), client_sends.begin());
    std::copy_n(keys.begin() + client_sends.size(), server_sends.size(), server_sends.begin());
    sodium_memzero(keys.data(), keys.size());
    sodium_memzero(shared.data(), shared.size());
    sodium_memzero(&state, sizeof(state));
    return true;
  }

  /// What `side`'s credential is made for.
  [[nodiscard]] std::array<unsigned char, sizeof(Hash) + 1> payload(Side side) const {
    std::array<unsigned char, sizeof(Hash) + 1> bytes{};
    bytes[0] = static_cast<unsigned char>(side);
    std::copy(transcript.begin(), transcript.end(), bytes.begin() + 1);
    return bytes;
  }
};

/// Runs `job`, which asks munged, beside the loop.
template <class T, class Job>
kj::Promise<Result<T>> beside_loop(Job job) {
  static std::atomic<int> running{0};
  if (running.fetch_add(1) >= kMostMungeCalls) {
    --running;
    return Result<T>(fail(ErrorKind::kOverloaded, "munged is asked too often at one time"));
  }
  auto thread = std::make_shared<SideThread>();
  return thread
      ->run<Result<T>>([job = std::move(job)]() mutable {
        auto result = job();
        --running;
        return result;
      })
      .attach(std::shared_ptr<SideThread>(thread));
}

kj::Promise<Result<std::string>> make_proof(const Agreement& agreement, Side side) {
  if (agreement.proof != ProofKind::kMunge) return Result<std::string>(std::string(1, '\0'));
  return beside_loop<std::string>(
      [payload = agreement.payload(side)] { return munge_encode(payload); });
}

kj::Promise<Result<PeerProof>> check_proof(const Agreement& agreement, Side side,
                                           kj::ArrayPtr<const kj::byte> record) {
  PeerProof peer{.kind = agreement.proof};
  if (agreement.proof != ProofKind::kMunge) {
    if (agreement.key != nullptr) {
      peer.uid = agreement.key->owner_uid();
      peer.gid = agreement.key->owner_gid();
    }
    return Result<PeerProof>(peer);
  }
  std::string credential(record.begin(), record.end());
  return beside_loop<PeerProof>(
      [peer, payload = agreement.payload(side),
       credential = std::move(credential)]() mutable -> Result<PeerProof> {
        auto user = munge_decode(credential, payload);
        if (!user) return tl::unexpected<Error>(std::move(user.error()));
        peer.uid = user->uid;
        peer.gid = user->gid;
        return peer;
      });
}

/// A connection from its first byte until it is open. Kept by its promises.
struct Opening {
  kj::Own<kj::AsyncIoStream> stream;
  std::shared_ptr<const Trust> trust;
  std::string address;
  FreshKey fresh{};
  Hello hello{};
  Welcome welcome{};
  Agreement agreement{};
  kj::Own<SecureStream> secure{};
};
using OpeningPtr = std::shared_ptr<Opening>;
using Secured = Result<SecuredStream>;

template <class Message>
kj::Promise<void> write_message(Opening& opening, const Message& message) {
  return opening.stream->write(&message, sizeof(message));
}

/// False when the stream ended before.
template <class Message>
kj::Promise<bool> read_message(Opening& opening, Message& message) {
  return opening.stream->tryRead(&message, sizeof(message), sizeof(message)).then([](size_t have) {
    return have == sizeof(Message);
  });
}

void start_secure(Opening& opening, Side side) {
  const bool client = side == Side::kClient;
  const Agreement& agreement = opening.agreement;
  opening.secure = kj::heap<SecureStream>(
      kj::mv(opening.stream), client ? agreement.client_sends : agreement.server_sends,
      client ? agreement.server_sends : agreement.client_sends, agreement.transcript);
}

/// Sends this side's proof and checks the other's.
kj::Promise<Secured> exchange_proofs(const OpeningPtr& opening, Side side) {
  start_secure(*opening, side);
  const Side other = side == Side::kClient ? Side::kServer : Side::kClient;
  auto sent = make_proof(opening->agreement, side)
                  .then([opening](Result<std::string>&& proof) -> kj::Promise<Result<void>> {
                    if (!proof) return Result<void>(tl::unexpected<Error>(proof.error()));
                    auto bytes = std::make_shared<std::string>(std::move(*proof));
                    return opening->secure->write(bytes->data(), bytes->size())
                        .then([bytes]() -> Result<void> { return {}; });
                  });
  auto checked =
      opening->secure->read_record(kMostCredential)
          .then([opening, other](kj::Array<kj::byte> record) -> kj::Promise<Result<PeerProof>> {
            if (record.size() == 0) {
              return Result<PeerProof>(fail(ErrorKind::kDenied,
                                            "the other end closed the connection in place "
                                            "of proving who it is"));
            }
            return check_proof(opening->agreement, other, record);
          });
  return sent.then(
      [opening, checked = kj::mv(checked)](Result<void>&& told) mutable -> kj::Promise<Secured> {
        if (!told) return Secured(tl::unexpected<Error>(std::move(told.error())));
        return checked.then([opening](Result<PeerProof>&& peer) -> Secured {
          if (!peer) return tl::unexpected<Error>(std::move(peer.error()));
          return SecuredStream{kj::mv(opening->secure), *peer};
        });
      });
}

/// What exceptions of a handshake say, as an error.
Error as_error(const std::string& attempted, const kj::Exception& exception) {
  const auto text = exception.getDescription();
  const bool gone = exception.getType() == kj::Exception::Type::DISCONNECTED;
  return Error(gone ? ErrorKind::kDisconnected : ErrorKind::kDenied,
               attempted + ": " + std::string(text.begin(), text.end()));
}

/// Whoever refuses closes the connection at once: the other end need not wait for its deadline.
kj::Promise<Secured> closed_on_failure(const OpeningPtr& opening, kj::Promise<Secured> opened,
                                       std::string attempted) {
  return opened
      .catch_([attempted = std::move(attempted)](kj::Exception&& exception) -> Secured {
        return tl::unexpected<Error>(as_error(attempted, exception));
      })
      .then([opening](Secured&& secured) -> Secured {
        if (!secured) {
          opening->stream = nullptr;
          opening->secure = nullptr;
        }
        return kj::mv(secured);
      });
}

// ---- the client ----

std::string proof_names(unsigned char proofs) {
  std::string text;
  for (const ProofKind kind : {ProofKind::kKey, ProofKind::kMunge, ProofKind::kNone}) {
    if ((proofs & bit(kind)) != 0)
      text += (text.empty() ? "" : " or ") + std::string(to_string(kind));
  }
  return text.empty() ? "nothing" : text;
}

Result<void> check_welcome(const Opening& opening) {
  const Welcome& welcome = opening.welcome;
  if (welcome.magic != kMagic) {
    return fail(ErrorKind::kDisconnected,
                "what listens at " + opening.address + " is no manager of this version's");
  }
  if (welcome.status == Status::kOtherVersion || welcome.version != kVersion) {
    return fail(ErrorKind::kUnsupported, "the manager at " + opening.address +
                                             " is of a version that opens connections in another "
                                             "way; use the same version on both ends");
  }
  const unsigned char offered = opening.hello.proofs;
  if (welcome.status != Status::kGood || (bit(welcome.proof) & offered) == 0) {
    const bool key =
        (welcome.proofs & bit(ProofKind::kKey)) != 0 && (offered & bit(ProofKind::kKey)) != 0;
    const bool insecure = (welcome.proofs & bit(ProofKind::kNone)) != 0;
    return fail(ErrorKind::kDenied,
                "the manager at " + opening.address + " wants callers to prove who they are by " +
                    proof_names(welcome.proofs) + "; this process has " +
                    opening.trust->to_string() +
                    (key ? ". It has another key: copy its key file here" : "") +
                    (insecure ? ". It runs with --insecure: set SUBLET_INSECURE=1 here as well to "
                                "do without proof"
                              : ""));
  }
  return {};
}

kj::Promise<Secured> client_agreed(const OpeningPtr& opening) {
  if (auto good = check_welcome(*opening); !good) {
    return Secured(tl::unexpected<Error>(std::move(good.error())));
  }
  Agreement& agreement = opening->agreement;
  agreement.proof = opening->welcome.proof;
  if (agreement.proof == ProofKind::kKey) agreement.key = &opening->trust->keys().front();
  if (!agreement.make(opening->fresh, opening->welcome.fresh, opening->hello, opening->welcome)) {
    return Secured(fail(ErrorKind::kDenied, "the other end has sent a key that is none"));
  }
  return exchange_proofs(opening, Side::kClient).then([opening](Secured&& secured) -> Secured {
    if (!secured || secured->peer.kind != ProofKind::kMunge ||
        opening->trust->believes_manager_of(secured->peer.uid)) {
      return kj::mv(secured);
    }
    return fail(ErrorKind::kDenied,
                "what listens at " + opening->address + " runs as uid " +
                    std::to_string(secured->peer.uid) +
                    ", which is neither root nor this user; if that is the managers' user, set "
                    "SUBLET_MANAGER_USER");
  });
}

// ---- the server ----

ProofKind choose_proof(const Trust& trust, const Hello& hello, unsigned char common) {
  if ((common & bit(ProofKind::kKey)) != 0 && trust.find(hello.key) != nullptr) {
    return ProofKind::kKey;
  }
  if ((common & bit(ProofKind::kMunge)) != 0) return ProofKind::kMunge;
  return ProofKind::kNone;
}

unsigned char proofs_of(const Trust& trust) {
  return static_cast<unsigned char>((trust.keys().empty() ? 0 : bit(ProofKind::kKey)) |
                                    (trust.munge() ? bit(ProofKind::kMunge) : 0) |
                                    (trust.insecure() ? bit(ProofKind::kNone) : 0));
}

kj::Promise<Secured> server_greeted(const OpeningPtr& opening) {
  const Hello& hello = opening->hello;
  if (hello.magic != kMagic) {
    return Secured(fail(ErrorKind::kDenied,
                        "what it said is not how a connection to a manager "
                        "begins over a network"));
  }
  const Trust& trust = *opening->trust;
  Welcome& welcome = opening->welcome;
  welcome.proofs = proofs_of(trust);
  const auto common = static_cast<unsigned char>(welcome.proofs & hello.proofs);
  welcome.proof = choose_proof(trust, hello, common);
  welcome.fresh = opening->fresh.open;
  if (hello.version != kVersion) welcome.status = Status::kOtherVersion;
  if ((bit(welcome.proof) & common) == 0) welcome.status = Status::kNoCommonProof;
  Agreement& agreement = opening->agreement;
  agreement.proof = welcome.proof;
  if (agreement.proof == ProofKind::kKey) agreement.key = trust.find(hello.key);
  auto told = write_message(*opening, welcome);
  if (welcome.status != Status::kGood) {
    return told.then([opening]() -> Secured {
      return fail(ErrorKind::kDenied, "it has " + proof_names(opening->hello.proofs) +
                                          " to prove who it is; asked for is " +
                                          opening->trust->to_string());
    });
  }
  if (!agreement.make(opening->fresh, hello.fresh, hello, welcome)) {
    return Secured(fail(ErrorKind::kDenied, "it has sent a key that is none"));
  }
  return told.then([opening] { return exchange_proofs(opening, Side::kServer); });
}

}  // namespace

kj::Promise<Secured> secure_as_client(kj::Own<kj::AsyncIoStream> stream,
                                      std::shared_ptr<const Trust> trust, std::string address) {
  if (auto able = trust->can_prove(); !able) {
    return Secured(
        fail(able.error().kind(), "connecting to " + address + ": " + able.error().what()));
  }
  auto opening = std::make_shared<Opening>();
  opening->stream = kj::mv(stream);
  opening->trust = std::move(trust);
  opening->address = std::move(address);
  opening->hello.proofs = proofs_of(*opening->trust);
  if (!opening->trust->keys().empty()) opening->hello.key = opening->trust->keys().front().id();
  opening->hello.fresh = opening->fresh.open;
  auto opened = write_message(*opening, opening->hello)
                    .then([opening] { return read_message(*opening, opening->welcome); })
                    .then([opening](bool whole) -> kj::Promise<Secured> {
                      if (!whole) {
                        return Secured(fail(
                            ErrorKind::kDisconnected,
                            "what listens at " + opening->address +
                                " closed the connection at once: no manager of this version's, "
                                "or one that has too many connections"));
                      }
                      return client_agreed(opening);
                    });
  return closed_on_failure(opening, kj::mv(opened), "opening a connection to " + opening->address);
}

kj::Promise<Secured> secure_as_server(kj::Own<kj::AsyncIoStream> stream,
                                      std::shared_ptr<const Trust> trust) {
  auto opening = std::make_shared<Opening>();
  opening->stream = kj::mv(stream);
  opening->trust = std::move(trust);
  auto opened =
      read_message(*opening, opening->hello).then([opening](bool whole) -> kj::Promise<Secured> {
        if (whole) return server_greeted(opening);
        return Secured(fail(ErrorKind::kDisconnected, "it closed without a word"));
      });
  return closed_on_failure(opening, kj::mv(opened), "its proof");
}

}  // namespace sublet::wire
