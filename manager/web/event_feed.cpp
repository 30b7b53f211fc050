#include <common/async.hpp>

#include <web/event_feed.hpp>
#include <web/limits.hpp>
#include <web/page_data.hpp>

#include <utility>

namespace sublet::manager::web {
namespace {

constexpr milliseconds kBetweenEvents{1000};
/// An overview is as good as new for so long: pages that were opened together share it.
constexpr milliseconds kFresh{900};

void append_event(std::string& to, const char* name, const std::string& data) {
  to += "event: ";
  to += name;
  to += "\ndata: ";
  to += data;
  to += "\n\n";
}

}  // namespace

struct EventFeed::Stream {
  kj::Own<kj::AsyncOutputStream> to;
  Viewer viewer;
  kj::TimePoint end;
  Text sent{};  ///< The overview.
  std::int64_t last_point_ms = 0;
  std::string writing{};
};

kj::Promise<void> EventFeed::run(kj::Own<kj::AsyncOutputStream> to, Viewer viewer) {
  auto stream =
      kj::heap<Stream>(Stream{kj::mv(to), std::move(viewer), timer_.now() + to_kj(kStreamLimit)});
  Stream& running = *stream;
  auto gone = running.to->whenWriteDisconnected();
  return next(running).exclusiveJoin(kj::mv(gone)).attach(kj::mv(stream));
}

kj::Promise<void> EventFeed::next(Stream& stream) {
  if (timer_.now() >= stream.end) return kj::READY_NOW;
  stream.writing.clear();
  if (const Text now = overview(stream.viewer); now != stream.sent) {
    stream.sent = now;
    append_event(stream.writing, "overview", *now);
  }
  if (const auto& points = history_.points();
      !points.empty() && points.back().at_ms > stream.last_point_ms) {
    append_event(stream.writing, "history", history_.to_json(stream.last_point_ms));
    stream.last_point_ms = points.back().at_ms;
  }
  append_event(stream.writing, "tick", tick_json(service_, history_, stream.viewer));
  return stream.to->write(stream.writing.data(), stream.writing.size())
      .then([this] { return timer_.afterDelay(to_kj(kBetweenEvents)); })
      .then([this, &stream] { return next(stream); });
}

EventFeed::Text EventFeed::overview(const Viewer& viewer) {
  const Time now = service_.now();
  if (overviews_.size() > kMaxStreams) overviews_.clear();
  Made& made = overviews_[viewer.key()];
  if (made.text != nullptr && now - made.at < kFresh) return made.text;
  made.at = now;
  std::string text = overview_json(service_, viewer);
  if (made.text == nullptr || *made.text != text) {
    made.text = std::make_shared<const std::string>(std::move(text));
  }
  return made.text;
}

}  // namespace sublet::manager::web
