/* Refers to what no library has. */
unsigned symbol_of_nowhere(void);
unsigned needs_more(void* args, unsigned size, void* res);
unsigned needs_more(void* args, unsigned size, void* res) {
  (void)args, (void)size, (void)res;
  return symbol_of_nowhere();
}
