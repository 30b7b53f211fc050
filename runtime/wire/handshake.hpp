#pragma once

// clang-format off
// How a control connection over a network begins.
//
// PROTOCOL  client -> server  Hello    magic, version, the proofs it has, id of its key (or of none),
//                                      a fresh X25519 public key
//           server -> client  Welcome  magic, status, the proof that is used, a fresh X25519 public key
//           Both make of it (BLAKE2b)
//             transcript = H("sublet control 1", Hello, Welcome)
//             keys       = H(shared secret, transcript), keyed with the shared key's bytes where it is
//                          the proof: one for each direction
//           From here on everything is a SecureStream's. The first record of each direction is its
//           Proof: for MUNGE a credential whose payload is the transcript and who speaks; else empty
//           but for one byte, which only who has the keys can have encrypted.
//           Who stands between the ends has other fresh keys with each, so another transcript: what
//           he relays, or repeats later, proves nothing. Nothing chosen here can be turned into
//           something weaker by him: Hello and Welcome are in the transcript.
//           (The construction is that of Noise's NNpsk0, noiseprotocol.org, with a transcript that is
//           signed by MUNGE in place of static keys.)
// STATES    hello -> welcome -> proofs -> open; anything else closes the connection.
// LIMITS    wire::kFirstMessage for all of it at the server; kMostCredential; kMostMungeCalls.
// clang-format on

#include <sublet/result.hpp>
#include <wire/trust.hpp>

#include <kj/async-io.h>

#include <memory>
#include <string>

namespace sublet::wire {

/// What the other end has proved.
struct PeerProof {
  ProofKind kind = ProofKind::kNone;
  std::uint32_t uid = kNobodyKnown;
  std::uint32_t gid = kNobodyKnown;
};

struct SecuredStream {
  kj::Own<kj::AsyncIoStream> stream;
  PeerProof peer;
};

/// `address` is for texts. kDenied says who refused whom and what to do; kDisconnected when the
/// other end closed or is no manager.
kj::Promise<Result<SecuredStream>> secure_as_client(kj::Own<kj::AsyncIoStream> stream,
                                                    std::shared_ptr<const Trust> trust,
                                                    std::string address);

/// The server's part; whoever serves bounds its time.
kj::Promise<Result<SecuredStream>> secure_as_server(kj::Own<kj::AsyncIoStream> stream,
                                                    std::shared_ptr<const Trust> trust);

}  // namespace sublet::wire
