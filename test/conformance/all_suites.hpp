#pragma once

// The whole contract, for one transport.

#include "blocking_suite.hpp"
#include "calls_suite.hpp"
#include "deaths_suite.hpp"
#include "faults_suite.hpp"
#include "handover_suite.hpp"
#include "payloads_suite.hpp"
#include "setup_suite.hpp"
#include "wakeups_suite.hpp"

/// Runs all suites for `Transports`, a TransportUnderTest or ::testing::Types of several; then a
/// class that names them may follow.
#define SUBLET_CONFORMANCE(Prefix, ...)                          \
  INSTANTIATE_TYPED_TEST_SUITE_P(Prefix, Calls, __VA_ARGS__);    \
  INSTANTIATE_TYPED_TEST_SUITE_P(Prefix, Payloads, __VA_ARGS__); \
  INSTANTIATE_TYPED_TEST_SUITE_P(Prefix, WakeUps, __VA_ARGS__);  \
  INSTANTIATE_TYPED_TEST_SUITE_P(Prefix, Crowds, __VA_ARGS__);   \
  INSTANTIATE_TYPED_TEST_SUITE_P(Prefix, Deaths, __VA_ARGS__);   \
  INSTANTIATE_TYPED_TEST_SUITE_P(Prefix, Blocking, __VA_ARGS__); \
  INSTANTIATE_TYPED_TEST_SUITE_P(Prefix, Faults, __VA_ARGS__);   \
  INSTANTIATE_TYPED_TEST_SUITE_P(Prefix, HandOver, __VA_ARGS__); \
  INSTANTIATE_TYPED_TEST_SUITE_P(Prefix, SettingUp, __VA_ARGS__)
