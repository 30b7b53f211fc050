// One call: lease a core, load a library into it, call a function there.
//
//   hello [LIBRARY] [NAME]

#include <sublet/sublet.hpp>

#include <unistd.h>

#include <iostream>
#include <string>

int main(int argc, char** argv) try {
  const auto options = sublet::SessionOptions::load(&argc, argv).value_or_throw();
  const std::string library = argc > 1 ? argv[1] : HELLO_FUNCTIONS;
  const std::string name = argc > 2 ? argv[2] : "world";

  // Finds a running resource manager, or starts a private one that ends with this program.
  auto session = sublet::Session::open(options).value_or_throw();
  auto lease = session.lease({.cores = 1}).value_or_throw();
  auto greet = lease.function(library, "greet").value_or_throw();

  char text[256];
  const sublet::Reply reply = greet.call(name.data(), name.size(), text, sizeof text);
  if (!reply.ok()) {
    std::cerr << greet.last_error() << '\n';
    return 1;
  }
  const auto worker = lease.worker(0);
  std::cout << std::string(text, reply.size) << ".\n(I am process " << ::getpid()
            << "; the worker is pinned to core " << worker.cpuset << " of " << worker.node_name
            << " and took " << reply.exec_ns << " ns.)\n";
  return 0;
} catch (const sublet::Error& error) {
  std::cerr << "hello: " << error.what() << '\n';
  return 1;
}
