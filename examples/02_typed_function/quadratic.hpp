#pragma once

// What the program and the function library agree on: plain structures, which travel as their
// bytes.

struct Quadratic {
  double a, b, c;  // a x^2 + b x + c
};

struct Roots {
  int count;
  double x1, x2;
};
