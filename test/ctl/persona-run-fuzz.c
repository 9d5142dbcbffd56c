// The reader of the native launcher, fed with answers from standard input: each a length in a line, then that many bytes.
// Prints one letter for each: `y` for an answer that would be followed, `n` for one that would not.
#define main launch
#include "../../ctl/native/persona-run.c"
#undef main

int main(void) {
  size_t length;
  while (scanf("%zu%*1[\n]", &length) == 1) {
    if (length > ANSWER_MAX || fread(answer, 1, length, stdin) != length) return 1;
    answer[length] = 0;
    in = answer;
    memset(&plan, 0, sizeof plan);
    putchar(read_plan() ? 'y' : 'n');
  }
  return 0;
}
