#include <cli/configuration.hpp>

#include <boost/any.hpp>
#include <boost/program_options.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;

template <class T>
bool differ_as(const boost::any& a, const boost::any& b) {
  const T* const left = boost::any_cast<T>(&a);
  const T* const right = boost::any_cast<T>(&b);
  return left != nullptr && right != nullptr && *left != *right;
}

bool differ(const po::variable_value& a, const po::variable_value& b) {
  if (a.empty() || b.empty()) return a.empty() != b.empty();
  const boost::any& left = a.value();
  const boost::any& right = b.value();
  return left.type() != right.type() || differ_as<std::string>(left, right) ||
         differ_as<std::vector<std::string>>(left, right) ||
         differ_as<std::uint32_t>(left, right) || differ_as<std::uint64_t>(left, right) ||
         differ_as<std::int32_t>(left, right) || differ_as<double>(left, right) ||
         differ_as<bool>(left, right);
}

}  // namespace

Configuration::Configuration(const CommandLine& line, std::vector<std::string> words,
                             po::variables_map values)
    : line_(line), words_(std::move(words)), values_(std::move(values)) {}

Result<po::variables_map> Configuration::read_again() const {
  return parse_options(line_, words_);
}

std::vector<Configuration::Change> Configuration::changes(const po::variables_map& values) const {
  std::vector<Change> changes;
  for (const auto& option : line_.options.options()) {
    const std::string& name = option->long_name();
    if (!differ(values_[name], values[name])) continue;
    const auto& list = line_.reloadable;
    changes.push_back({name, std::find(list.begin(), list.end(), name) != list.end()});
  }
  return changes;
}

void Configuration::use(const po::variables_map& values) {
  std::map<std::string, po::variable_value>& mine = values_;
  for (const std::string& name : line_.reloadable) mine[name] = values[name];
}

}  // namespace sublet::cli
