#include <cli/command.hpp>
#include <cli/run_command.hpp>
#include <wire/trust.hpp>

#include <boost/program_options.hpp>
#include <sodium/core.h>

#include <iostream>

namespace sublet::cli {

namespace po = boost::program_options;

CommandLine key_command_line() {
  CommandLine line;
  line.name = "key";
  line.arguments = "new [FILE]";
  line.about =
      "Makes a key that clients and managers share, where no munged runs: copy the file to the "
      "same\n"
      "place on every node of the cluster. Whoever can read it may lease cores, and run functions "
      "on\n"
      "them, as its owner. It is found by itself in sublet/key in the configuration directory and "
      "in\n"
      "/etc/sublet/key; other places are named by --key-file and SUBLET_KEY_FILE.\n"
      "  sublet key new          makes one, and never writes over another\n"
      "  sublet key show [FILE]  prints its number, which logs and errors name it by";
  line.options.add_options()("words", po::value<std::vector<std::string>>(),
                             "what to do, and the file");
  line.positional = "words";
  line.choices["words"] = {"new", "show"};
  return line;
}

namespace {

Result<void> show_key(const std::string& path) {
  const auto key = wire::Key::read(path);
  if (!key) return tl::unexpected<Error>(key.error());
  std::cout << "key " << key->id_text() << " of uid " << key->owner_uid() << " in " << path << "\n";
  return {};
}

}  // namespace

int key_command(const std::vector<std::string>& words) {
  return run_command(key_command_line(), words, [](const Values& values) -> Result<void> {
    std::vector<std::string> given;
    if (values.count("words") != 0) given = values["words"].as<std::vector<std::string>>();
    const bool make = !given.empty() && given.front() == "new";
    if (given.empty() || given.size() > 2 || (!make && given.front() != "show")) {
      return fail(ErrorKind::kInvalid,
                  "what is wanted? `sublet key new [FILE]` makes a key, `sublet "
                  "key show [FILE]` says which one it is");
    }
    if (::sodium_init() < 0) return fail(ErrorKind::kInternal, "libsodium does not start");
    const std::string path = given.size() == 2 ? given[1] : wire::default_key_files().front();
    if (make) {
      if (auto made = wire::Key::make(path); !made) return made;
    }
    return show_key(path);
  });
}

}  // namespace sublet::cli
