#include <cli/describe/man_page.hpp>
#include <cli/describe/option_text.hpp>
#include <cli/exit_codes.hpp>
#include <client/session_option.hpp>
#include <sublet/version.hpp>

#include <algorithm>
#include <cctype>
#include <sstream>

namespace sublet::cli {
namespace {

/// Text for roff: nothing in it is a request or an escape.
std::string roff(const std::string& text) {
  std::string safe;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool at_line_start = i == 0 || text[i - 1] == '\n';
    if (at_line_start && (text[i] == '.' || text[i] == '\'')) safe += "\\&";
    switch (text[i]) {
      case '\\':
        safe += "\\e";
        break;
      case '-':
        safe += "\\-";
        break;
      case '\'':
        safe += "\\(aq";
        break;
      case '`':
        break;  // marks code in our texts
      case '~':
        safe += "\\(ti";
        break;
      case '^':
        safe += "\\(ha";
        break;
      default:
        safe += text[i];
    }
  }
  return safe;
}

/// Paragraphs of --help: its line breaks are for terminals, but lines that begin with two spaces
/// stay as they are.
std::string paragraphs(const std::string& text) {
  std::string page;
  bool verbatim = false;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const bool indented = line.starts_with("  ");
    if (indented != verbatim) page += indented ? ".PP\n.nf\n" : ".fi\n.PP\n";
    verbatim = indented;
    page += roff(line) + "\n";
  }
  return page + (verbatim ? ".fi\n" : "");
}

std::string heading(const std::string& name, int section) {
  std::string title = name;
  std::transform(title.begin(), title.end(), title.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return ".TH " + roff(title) + " " + std::to_string(section) +
         " \"\" \"Sublet " SUBLET_VERSION "\" \"Sublet\"\n";
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
  }
  return text;
}

/// Ends with a full stop, whatever the description does.
std::string sentence_of(const OptionText& option) {
  std::string text = option.about;
  if (text.find(joined(option.choices)) == std::string::npos) {
    text += ": " + joined(option.choices);
  }
  if (!option.fallback.empty() && option.fallback != "0" &&
      text.find("default") == std::string::npos) {
    text += "; by default " + option.fallback;
  }
  if (option.repeats && text.find("repeated") == std::string::npos) text += "; may be repeated";
  return text + ".";
}

std::string option_list(const CommandLine& line) {
  std::string page;
  for (const OptionText& option : option_texts(line)) {
    page += ".TP\n\\fB\\-\\-" + roff(option.name) + "\\fR";
    if (option.takes_value) page += " \\fI" + roff(option.value) + "\\fR";
    page += "\n" + roff(sentence_of(option)) + "\n";
  }
  return page;
}

std::string variable_of(const CommandLine& line, const std::string& option) {
  std::string name = "sublet_" + line.name + "_" + option;
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
    return c == '-' ? '_' : static_cast<char>(std::toupper(c));
  });
  return name;
}

std::string environment(const CommandLine& line) {
  std::string page = ".SH ENVIRONMENT\n";
  for (const auto& [variable, option] : line.aliases) {
    page += ".TP\n.B " + variable + "\nSets \\fB\\-\\-" + roff(option) + "\\fR.\n";
  }
  if (line.configurable) {
    page += ".TP\n.B " + variable_of(line, "option") +
            "\nEach option has such a variable, with underscores instead of dashes. Flags win over "
            "the\nenvironment, the environment over the file.\n";
  }
  return page +
         ".TP\n.B SUBLET_LOG\nThe level of messages: trace, debug, info, warn, error or off.\n";
}

std::string exit_status() {
  std::string page = ".SH \"EXIT STATUS\"\n";
  for (const ExitMeaning& each : kExitMeanings) {
    page += ".TP\n" + std::to_string(each.code) + "\n" + roff(each.meaning) + ".\n";
  }
  return page;
}

ManualPage page_of(const Command& command) {
  const std::vector<CommandLine> lines = command.describe();
  const CommandLine& own = lines.front();
  ManualPage page;
  page.name = "sublet-" + std::string(command.name);
  page.text = heading(page.name, 1) + ".SH NAME\n" + roff(page.name) + " \\- " +
              roff(command.summary) + "\n.SH SYNOPSIS\n.B sublet " + roff(command.name) + "\n" +
              roff(own.arguments) + "\n.SH DESCRIPTION\n" + paragraphs(own.about);
  page.text += ".SH OPTIONS\n" + option_list(own);
  for (auto line = lines.begin() + 1; line != lines.end(); ++line) {
    page.text +=
        ".SH \"SUBLET " + roff(line->name) + "\"\n" + paragraphs(line->about) + option_list(*line);
  }
  page.text += environment(own);
  if (own.configurable) {
    page.text += ".SH FILES\n.TP\n.I /etc/sublet/manager.conf\nSection [" + roff(own.name) +
                 "] sets options, see\n.BR sublet\\-manager.conf (5).\n";
  }
  page.text += exit_status() + ".SH \"SEE ALSO\"\n.BR sublet (1)\n";
  return page;
}

ManualPage overview() {
  ManualPage page;
  page.name = "sublet";
  page.text =
      heading("sublet", 1) +
      ".SH NAME\nsublet \\- leases idle cores and runs functions on them\n"
      ".SH SYNOPSIS\n.B sublet\n.I COMMAND\n[OPTIONS]\n.SH DESCRIPTION\n"
      "Leases idle cores and runs functions on them at the speed of the network. Each command "
      "has a page\nof its own.\n.SH COMMANDS\n";
  for (const Command& command : commands()) {
    if (command.summary == nullptr) continue;
    page.text +=
        ".TP\n.BR sublet\\-" + roff(command.name) + " (1)\n" + roff(command.summary) + ".\n";
  }
  page.text +=
      exit_status() + ".SH \"SEE ALSO\"\n.BR sublet\\-manager.conf (5),\n.BR sublet.conf (5)\n";
  return page;
}

ManualPage managers_file() {
  ManualPage page;
  page.name = "sublet-manager.conf";
  page.section = 5;
  page.text =
      heading(page.name, 5) +
      ".SH NAME\nsublet\\-manager.conf \\- configuration file of Sublet\\(aqs managers\n"
      ".SH DESCRIPTION\nThe first of these that is there is read: what \\fB\\-\\-config\\fR "
      "names, what\n$SUBLET_MANAGER_CONFIG names,\n.I "
      "\\(ti/.config/sublet/manager.conf,\n.I /etc/sublet/manager.conf.\n"
      "A line is empty, a comment that begins with #, a [section] or\n\\fIoption\\fR = "
      "\\fIvalue\\fR.\nItems of a list are separated by commas. Environment variables and "
      "flags win over\nthe file.\n.B sublet config check\n.I FILE\nsays what is wrong with "
      "one.\n";
  for (const Command& command : commands()) {
    const CommandLine line = command.describe().front();
    if (!line.configurable) continue;
    page.text += ".SH \"[" + roff(line.name) + "]\"\n";
    for (const OptionText& option : option_texts(line)) {
      if (option.name == "help" || option.name == "config") continue;
      page.text += ".TP\n\\fB" + roff(option.name) + "\\fR = \\fI" +
                   (option.takes_value ? roff(option.value) : "true") + "\\fR\n" +
                   roff(sentence_of(option)) + "\n";
      if (const auto& reloaded = line.reloadable;
          std::find(reloaded.begin(), reloaded.end(), option.name) != reloaded.end()) {
        page.text += "Read again on SIGHUP.\n";
      }
    }
  }
  page.text += ".SH \"SEE ALSO\"\n.BR sublet (1),\n.BR sublet\\-config (1)\n";
  return page;
}

ManualPage sessions_file() {
  ManualPage page;
  page.name = "sublet.conf";
  page.section = 5;
  page.text =
      heading(page.name, 5) +
      ".SH NAME\nsublet.conf \\- configuration file of applications that use Sublet\n"
      ".SH DESCRIPTION\nWhat $SUBLET_CONFIG names, else\n.I "
      "\\(ti/.config/sublet/sublet.conf.\nA line is empty, a comment that begins with #, or "
      "\\fIoption\\fR = \\fIvalue\\fR.\nThe environment variable SUBLET_\\fIOPTION\\fR, with "
      "underscores instead of dashes, and the\napplication\\(aqs flag "
      "\\fB\\-\\-sublet\\-\\fIoption\\fR win over the file.\n.B sublet config check\n.I "
      "FILE\nsays what is wrong with one.\n.SH OPTIONS\n";
  for (const auto& [name, about] : client::session_options()) {
    page.text += ".TP\n\\fB" + roff(name) + "\\fR\n" + roff(about) + ".\n";
  }
  page.text += ".SH \"SEE ALSO\"\n.BR sublet (1),\n.BR sublet\\-config (1)\n";
  return page;
}

}  // namespace

std::vector<ManualPage> manual_pages() {
  std::vector<ManualPage> pages{overview()};
  for (const Command& command : commands()) {
    if (command.summary != nullptr) pages.push_back(page_of(command));
  }
  pages.push_back(managers_file());
  pages.push_back(sessions_file());
  return pages;
}

}  // namespace sublet::cli
