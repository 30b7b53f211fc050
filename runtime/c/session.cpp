#include <c/error.hpp>
#include <c/handles.hpp>

#include <algorithm>
#include <cstring>
#include <memory>

namespace sublet::c {

sublet_session* make_handle(Session session) {
  return new sublet_session{std::move(session)};
}

}  // namespace sublet::c

using namespace sublet::c;
using sublet::Result;

int sublet_session_open(const sublet_options* options, sublet_session** session) {
  if (session == nullptr) return null_pointer("session");
  return guarded("opening a session", [&]() -> Result<void> {
    auto complete = session_options(options);
    if (!complete) return tl::unexpected<sublet::Error>(std::move(complete.error()));
    auto opened = sublet::Session::open(*complete);
    if (!opened) return tl::unexpected<sublet::Error>(std::move(opened.error()));
    *session = make_handle(std::move(*opened));
    return {};
  });
}

int sublet_session_manager(const sublet_session* session, char* text, size_t capacity,
                           size_t* length) {
  if (session == nullptr) return null_handle("session");
  if (text == nullptr && capacity > 0) return null_pointer("text");
  if (capacity > kMostBytes) return bad_size("capacity", capacity);
  return guarded("asking for the manager's address", [&]() -> Result<void> {
    const std::string address = session->session.manager_address();
    if (capacity > 0) text[address.copy(text, capacity - 1)] = '\0';
    if (length != nullptr) *length = address.size();
    return {};
  });
}

int sublet_session_manager_is_private(const sublet_session* session, int* is_private) {
  if (session == nullptr) return null_handle("session");
  if (is_private == nullptr) return null_pointer("is_private");
  *is_private = session->session.manager_is_private() ? 1 : 0;
  return SUBLET_SUCCESS;
}

int sublet_session_write_trace(const sublet_session* session, const char* path) {
  if (session == nullptr) return null_handle("session");
  if (path == nullptr) return null_pointer("path");
  return guarded("writing a timeline", [&] { return session->session.write_trace(path); });
}

int sublet_session_free(sublet_session** session) {
  return free_handle(session, "session");
}
