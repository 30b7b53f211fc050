/* No library: what a person hands over by mistake. */
int main(void) {
  return 0;
}
