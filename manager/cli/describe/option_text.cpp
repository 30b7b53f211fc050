#include <cli/describe/option_text.hpp>

#include <boost/program_options.hpp>

#include <algorithm>
#include <cstdint>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;

template <class T>
bool holds(const po::value_semantic& semantic) {
  return dynamic_cast<const po::typed_value<T>*>(&semantic) != nullptr;
}

std::string value_name(const po::value_semantic& semantic, const std::string& name) {
  const std::string own = semantic.name();
  if (!own.starts_with("arg")) return own.substr(0, own.find(" (="));
  if (name.ends_with("file") || name == "config" || name == "json") return "FILE";
  if (name.ends_with("dir") || name.ends_with("directory")) return "DIRECTORY";
  if (holds<std::uint32_t>(semantic) || holds<std::uint64_t>(semantic) || holds<int>(semantic) ||
      holds<std::int32_t>(semantic) || holds<double>(semantic)) {
    return "N";
  }
  return "VALUE";
}

/// Of "arg (=5s)": 5s.
std::string fallback_of(const po::value_semantic& semantic) {
  const std::string text = semantic.name();
  const std::size_t begin = text.find("(=");
  if (begin == std::string::npos || text.back() != ')') return {};
  return text.substr(begin + 2, text.size() - begin - 3);
}

}  // namespace

std::vector<OptionText> option_texts(const CommandLine& line) {
  std::vector<OptionText> texts;
  for (const auto& option : line.options.options()) {
    const std::string& name = option->long_name();
    if (name == line.positional || name == "help") continue;
    const po::value_semantic& semantic = *option->semantic();
    OptionText text;
    text.name = name;
    text.takes_value = semantic.max_tokens() != 0;
    text.repeats = holds<std::vector<std::string>>(semantic);
    if (text.takes_value) {
      text.value = value_name(semantic, name);
      text.fallback = fallback_of(semantic);
    }
    text.about = option->description();
    if (const auto found = line.choices.find(name); found != line.choices.end()) {
      text.choices = found->second;
    }
    texts.push_back(std::move(text));
  }
  texts.push_back({"help", false, false, {}, {}, "explains the options", {}});
  return texts;
}

std::vector<std::string> word_choices(const CommandLine& line) {
  const auto found = line.choices.find(line.positional);
  return line.positional.empty() || found == line.choices.end() ? std::vector<std::string>()
                                                                : found->second;
}

std::string without_backquotes(const std::string& text) {
  std::string plain = text;
  plain.erase(std::remove(plain.begin(), plain.end(), '`'), plain.end());
  return plain;
}

}  // namespace sublet::cli
