#include <cli/resource_manager_options.hpp>
#include <common/auth/authorize.hpp>
#include <wire/address.hpp>

#include <boost/program_options.hpp>

#include <cmath>
#include <utility>

namespace sublet::cli {

namespace po = boost::program_options;

namespace {

Result<double> price(const po::variables_map& values, const std::string& option) {
  const double value = values[option].as<double>();
  if (value >= 0 && std::isfinite(value)) return value;
  return fail(ErrorKind::kInvalid, "--" + option + " must be a number from 0 on");
}

}  // namespace

Result<manager::Prices> prices(const po::variables_map& values) {
  manager::Prices prices;
  for (const auto& [to, option] : {std::pair(&prices.core_hour, "price-core-hour"),
                                   std::pair(&prices.memory_gib_hour, "price-memory-gib-hour"),
                                   std::pair(&prices.gpu_hour, "price-gpu-hour"),
                                   std::pair(&prices.hot_poll_hour, "price-hot-poll-hour"),
                                   std::pair(&prices.compute_hour, "price-compute-hour")}) {
    const auto value = price(values, option);
    if (!value) return tl::unexpected<Error>(value.error());
    *to = *value;
  }
  return prices;
}

Result<manager::LeaseDesk::Limits> desk_limits(const po::variables_map& values) {
  manager::LeaseDesk::Limits limits;
  for (const auto& [to, option] :
       {std::pair(&limits.everybody.cores, "quota-cores"),
        std::pair(&limits.everybody.core_seconds, "quota-core-seconds")}) {
    const auto amount = parse_amount(option, values[option].as<std::string>());
    if (!amount) return tl::unexpected<Error>(amount.error());
    *to = *amount;
  }
  const auto aging = parse_duration(values["wait-aging"].as<std::string>());
  if (!aging || aging->count() <= 0) {
    return fail(
        ErrorKind::kInvalid,
        "--wait-aging: " + (aging ? "it must be more than 0" : std::string(aging.error().what())));
  }
  limits.queue.aging = *aging;
  return limits;
}

Result<std::chrono::milliseconds> clock_tolerance(const po::variables_map& values) {
  auto tolerance = parse_duration(values["clock-tolerance"].as<std::string>());
  if (tolerance) return tolerance;
  return fail(ErrorKind::kInvalid, std::string("--clock-tolerance: ") + tolerance.error().what());
}

Result<Reloaded> reloaded_options(const po::variables_map& values) {
  Reloaded reloaded;
  auto limits = desk_limits(values);
  if (!limits) return tl::unexpected<Error>(std::move(limits.error()));
  reloaded.desk = *limits;
  auto costs = prices(values);
  if (!costs) return tl::unexpected<Error>(std::move(costs.error()));
  reloaded.prices = *costs;
  auto tolerance = clock_tolerance(values);
  if (!tolerance) return tl::unexpected<Error>(std::move(tolerance.error()));
  reloaded.clock_tolerance = *tolerance;
  return reloaded;
}

std::vector<std::string> resource_manager_problems(const po::variables_map& values) {
  std::vector<std::string> problems;
  const auto note = [&problems](const auto& result) {
    if (!result) problems.emplace_back(result.error().what());
  };
  note(prices(values));
  note(desk_limits(values));
  note(clock_tolerance(values));
  note(manager::Operators::of_this_process(values["operators"].as<std::string>()));
  if (values.count("listen") != 0) {
    for (const std::string& text : values["listen"].as<std::vector<std::string>>()) {
      note(wire::Address::parse(text));
    }
  }
  return problems;
}

}  // namespace sublet::cli
