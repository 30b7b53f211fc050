// Writes a portfolio of random options for black_scholes.

#include "portfolio.hpp"

#include <boost/program_options.hpp>

#include <cstdint>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

namespace po = boost::program_options;

int main(int argc, char** argv) try {
  std::string output;
  std::uint64_t seed = 0;
  std::int64_t count = 0;
  po::options_description flags(
      "option_generator: writes a portfolio of random options\n\nOptions");
  flags.add_options()("help,h", "print this and exit")                                       //
      ("output,o", po::value(&output)->required()->value_name("FILE"), "where to write it")  //
      ("seed", po::value(&seed)->default_value(1), "equal seeds give equal portfolios")      //
      ("count,n", po::value(&count)->default_value(1'000'000), "number of options");
  po::variables_map given;
  po::store(po::parse_command_line(argc, argv, flags), given);
  if (given.count("help") != 0) {
    std::cout << flags;
    return 0;
  }
  po::notify(given);
  if (count < 1) throw po::error("--count must be at least 1 and is " + std::to_string(count));

  black_scholes::write_portfolio(output, seed, static_cast<std::uint64_t>(count));
  std::cout << output << ": " << count << " options of seed " << seed << '\n';
  return 0;
} catch (const po::error& error) {
  std::cerr << "option_generator: " << error.what() << "; --help lists the options\n";
  return 2;
} catch (const std::exception& error) {
  std::cerr << "option_generator: " << error.what() << '\n';
  return 1;
}
