// A part of a program that is not linked to libsublet: the program loads this one, and it
// libsublet. Prints what became of a call, as single_source_program does.

#include <sublet/c.hpp>
#include <sublet/sublet.hpp>

#include <cstdio>

extern "C" int run_plugin() {
  try {
    sublet::init(0, nullptr);
    auto session = sublet::Session::open().value_or_throw();
    auto lease = session.lease().value_or_throw();
    std::printf("result %d\n", lease.call([](int x) { return x + 1; }, 41).value_or_throw());
    return 0;
  } catch (const sublet::Error& error) {
    const int code = sublet::c::code_of(error.kind());
    std::printf("error: %s\ncode %d: %s\n", error.what(), code, sublet_error_string(code));
    return 1;
  }
}
