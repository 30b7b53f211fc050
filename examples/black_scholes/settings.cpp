#include "settings.hpp"

#include <boost/program_options.hpp>

#include <charconv>
#include <cmath>
#include <sstream>

namespace black_scholes {
namespace {

namespace po = boost::program_options;

std::optional<double> parse_share(const std::string& text) {
  if (text == "auto") return std::nullopt;
  double share = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), share);
  if (error != std::errc() || end != text.data() + text.size() || !(share >= 0 && share <= 1)) {
    throw po::error("--offload-share is '" + text + "': give a number from 0 to 1, or auto");
  }
  return share;
}

}  // namespace

std::optional<Settings> read_settings(int argc, char** argv, std::string& help) {
  Settings settings;
  settings.session = sublet::SessionOptions::load(&argc, argv).value_or_throw();

  std::string share;
  std::int64_t steps = 0;
  std::int64_t workers = 0;
  std::int64_t chunk = 0;
  po::options_description flags(
      "black_scholes: prices a portfolio with MPI ranks and their leased workers\n\nOptions");
  flags.add_options()("help,h", "print this and exit")  //
      ("portfolio,p", po::value(&settings.portfolio)->required()->value_name("FILE"),
       "portfolio to price; option_generator makes one")  //
      ("offload-share", po::value(&share)->default_value("auto")->value_name("SHARE"),
       "share of the work given to the workers: 0 to 1, or auto to balance by measured rates")  //
      ("steps", po::value(&steps)->default_value(5),
       "how often the market moves and the portfolio is priced")  //
      ("until", po::value(&settings.until)->value_name("FILE"),
       "take all steps again and again until FILE exists")                                       //
      ("workers-per-rank", po::value(&workers)->default_value(1), "cores leased for each rank")  //
      ("chunk", po::value(&chunk)->default_value(4096), "options in one invocation")             //
      ("trace", po::value(&settings.trace)->value_name("FILE"),
       "write a timeline (open it at https://ui.perfetto.dev)")  //
      ("json", po::value(&settings.json)->value_name("FILE"), "write the summary as JSON");
  po::positional_options_description positional;
  positional.add("portfolio", 1);

  po::variables_map given;
  po::store(po::command_line_parser(argc, argv).options(flags).positional(positional).run(), given);
  if (given.count("help") != 0) {
    std::ostringstream text;
    text << flags;
    help = text.str();
    return std::nullopt;
  }
  po::notify(given);

  const auto within = [](const char* flag, std::int64_t value, std::int64_t most) {
    if (value < 1 || value > most) {
      throw po::error(std::string(flag) + " must be from 1 to " + std::to_string(most) +
                      " and is " + std::to_string(value));
    }
  };
  within("--steps", steps, 1'000'000);
  within("--workers-per-rank", workers, 4096);
  within("--chunk", chunk, 1 << 24);
  settings.offload_share = parse_share(share);
  settings.steps = static_cast<std::uint32_t>(steps);
  settings.workers_per_rank = static_cast<std::uint32_t>(workers);
  settings.chunk = static_cast<std::size_t>(chunk);
  if (!settings.trace.empty()) settings.session.trace = true;
  return settings;
}

}  // namespace black_scholes
