int neighbour(int x) {
  return x + 1;
}
