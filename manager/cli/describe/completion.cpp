#include <cli/command.hpp>
#include <cli/describe/completion.hpp>
#include <cli/describe/option_text.hpp>

#include <algorithm>
#include <vector>

namespace sublet::cli {
namespace {

struct Completed {
  std::string name;  ///< "nodes", or "bench latency".
  std::string summary;
  std::vector<std::string> words;
  std::vector<OptionText> options;
};

std::vector<Completed> all_completed() {
  std::vector<Completed> all;
  for (const Command& command : commands()) {
    if (command.summary == nullptr) continue;
    for (const CommandLine& line : command.describe()) {
      all.push_back({line.name, command.summary, word_choices(line), option_texts(line)});
    }
  }
  return all;
}

bool is_command(const Completed& each) {
  return each.name.find(' ') == std::string::npos;
}

std::string spaced(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string flags(const Completed& each) {
  std::string text;
  for (const OptionText& option : each.options) text += (text.empty() ? "--" : " --") + option.name;
  return text;
}

std::string command_names(const std::vector<Completed>& all) {
  std::string text;
  for (const Completed& each : all) {
    if (is_command(each)) text += (text.empty() ? "" : " ") + each.name;
  }
  return text;
}

/// In single quotes, as all three shells read them; `also` are characters that need a backslash.
std::string quoted(const std::string& text, const std::string& also = {}) {
  std::string safe = "'";
  for (const char c : without_backquotes(text)) {
    if (c == '\'') {
      safe += "\xE2\x80\x99";  // an apostrophe: nothing that a shell knows
    } else {
      if (also.find(c) != std::string::npos) safe += '\\';
      safe += c;
    }
  }
  return safe + "'";
}

}  // namespace

std::string bash_completion() {
  const auto all = all_completed();
  std::string values;
  std::string cases;
  for (const Completed& each : all) {
    cases += "    '" + each.name + "') words='" + spaced(each.words) + "' flags='" + flags(each) +
             "' ;;\n";
    for (const OptionText& option : each.options) {
      if (!option.takes_value) continue;
      values += "    '" + each.name + " --" + option.name + "') takes=1 values='" +
                spaced(option.choices) + "' ;;\n";
    }
  }
  return "# bash completion of sublet; made from its options when it is built.\n"
         "_sublet() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
         "  local command=${COMP_WORDS[1]-} words= flags= takes= values=\n"
         "  COMPREPLY=()\n"
         "  if ((COMP_CWORD == 1)); then\n"
         "    mapfile -t COMPREPLY < <(compgen -W '" +
         command_names(all) +
         " --help --version' -- \"$current\")\n"
         "    return\n"
         "  fi\n"
         "  if [[ $command == bench ]] && ((COMP_CWORD > 2)); then command=\"bench "
         "${COMP_WORDS[2]}\"; fi\n"
         "  # --option=value comes as three words.\n"
         "  if [[ $current == = ]]; then current=; before=${COMP_WORDS[COMP_CWORD - 1]}\n"
         "  elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD - 2]}; fi\n"
         "  case \"$command $before\" in\n" +
         values +
         "  esac\n"
         "  if [[ -n $takes ]]; then\n"
         "    if [[ -n $values ]]; then mapfile -t COMPREPLY < <(compgen -W \"$values\" -- "
         "\"$current\")\n"
         "    else mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); fi\n"
         "    return\n"
         "  fi\n"
         "  case $command in\n" +
         cases +
         "  esac\n"
         "  if [[ $current == -* ]]; then mapfile -t COMPREPLY < <(compgen -W \"$flags\" -- "
         "\"$current\")\n"
         "  elif ((COMP_CWORD == 2)) && [[ -n $words ]]; then\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
         "  else mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); fi\n"
         "}\n"
         "complete -o filenames -F _sublet sublet\n";
}

std::string zsh_completion() {
  const auto all = all_completed();
  std::string described;
  std::string cases;
  const std::string special = "[]:\\";
  for (const Completed& each : all) {
    if (is_command(each)) described += "    " + quoted(each.name + ":" + each.summary) + "\n";
    cases += "    '" + each.name + "')\n      _arguments -S";
    for (const OptionText& option : each.options) {
      std::string text = std::string(option.repeats ? "*" : "") + "--" + option.name +
                         (option.takes_value ? "=" : "");
      std::string about = quoted(option.about, special);
      about = about.substr(1, about.size() - 2);
      text = "'" + text + "[" + about + "]";
      if (option.takes_value) {
        text += ":" + option.value + ":";
        text += option.choices.empty() ? "_files" : "(" + spaced(option.choices) + ")";
      }
      cases += " \\\n        " + text + "'";
    }
    cases += each.words.empty()
                 ? " \\\n        '*:word:_files'"
                 : " \\\n        '1:word:(" + spaced(each.words) + ")' \\\n        '*:word:_files'";
    cases += " ;;\n";
  }
  return "#compdef sublet\n# Made from the options of sublet when it is built.\n"
         "_sublet() {\n"
         "  local command\n"
         "  local -a commands\n"
         "  commands=(\n" +
         described +
         "  )\n"
         "  if ((CURRENT == 2)); then\n"
         "    _describe -t commands 'command' commands\n"
         "    return\n"
         "  fi\n"
         "  command=$words[2]\n"
         "  if [[ $command == bench ]] && ((CURRENT > 3)); then\n"
         "    command=\"bench $words[3]\"\n"
         "    shift words\n"
         "    ((CURRENT--))\n"
         "  fi\n"
         "  shift words\n"
         "  ((CURRENT--))\n"
         "  case $command in\n" +
         cases +
         "  esac\n"
         "}\n"
         "_sublet \"$@\"\n";
}

std::string fish_completion() {
  const auto all = all_completed();
  std::string text = "# fish completion of sublet; made from its options when it is built.\n";
  for (const Completed& each : all) {
    if (is_command(each)) {
      text += "complete -c sublet -f -n __fish_use_subcommand -a " + each.name + " -d " +
              quoted(each.summary) + "\n";
    }
  }
  for (const Completed& each : all) {
    const std::size_t space = each.name.find(' ');
    std::string seen = "__fish_seen_subcommand_from " + each.name.substr(0, space);
    if (space != std::string::npos) {
      seen += "; and __fish_seen_subcommand_from " + each.name.substr(space + 1);
    }
    const std::string where = "complete -c sublet -n '" + seen + "' ";
    if (!each.words.empty()) {
      text += where + "-f -a '" + spaced(each.words) + "'\n";
    }
    for (const OptionText& option : each.options) {
      text += where + "-l " + option.name;
      if (option.takes_value && option.choices.empty()) text += " -r";
      if (!option.choices.empty()) text += " -x -a '" + spaced(option.choices) + "'";
      text += " -d " + quoted(option.about) + "\n";
    }
  }
  return text;
}

}  // namespace sublet::cli
