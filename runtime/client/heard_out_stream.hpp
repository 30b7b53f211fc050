#pragma once

#include <kj/async-io.h>

namespace sublet::client {

/// A connection whose writes never tell of its end; its reads do.
///
/// The problem: an executor manager that leaves says what became of the calls, and closes. A client
/// that reads this late answers the first message, that answer meets a closed connection, and an
/// error there would end the connection before the other messages have been read.
///
/// Owner: the connection; on its loop.
class HeardOutStream final : public kj::AsyncIoStream {
 public:
  explicit HeardOutStream(kj::Own<kj::AsyncIoStream> stream) : stream_(kj::mv(stream)) {}

  kj::Promise<size_t> tryRead(void* buffer, size_t least, size_t most) override {
    return stream_->tryRead(buffer, least, most);
  }
  kj::Promise<void> write(const void* buffer, size_t size) override {
    return forgiven([&] { return stream_->write(buffer, size); });
  }
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    return forgiven([&] { return stream_->write(pieces); });
  }
  kj::Promise<void> whenWriteDisconnected() override { return stream_->whenWriteDisconnected(); }
  void shutdownWrite() override { stream_->shutdownWrite(); }
  void abortRead() override { stream_->abortRead(); }
  kj::Maybe<int> getFd() const override { return stream_->getFd(); }

 private:
  template <class Write>
  static kj::Promise<void> forgiven(Write&& write) {
    return kj::evalNow(write).catch_([](kj::Exception&& exception) {
      if (exception.getType() != kj::Exception::Type::DISCONNECTED) {
        kj::throwFatalException(kj::mv(exception));
      }
    });
  }

  kj::Own<kj::AsyncIoStream> stream_;
};

}  // namespace sublet::client
