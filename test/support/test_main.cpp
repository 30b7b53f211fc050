#include "test_key.hpp"

#include <gtest/gtest.h>

// Unlike GoogleTest's own, it says nothing before the tests do.
int main(int argc, char** argv) {
  sublet::test::use_test_key();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
