// The native launcher when its time is over: connects to a socket whose queue is full, with no time left and with less.
// Prints what it answers, a line for each. Its argument is the root of a daemon: a folder with one `run` in it.
#define main launch
#include "../../ctl/native/persona-run.c"
#undef main

int main(int count, char **words) {
  if (count != 2 || setenv("PERSONA_ROOT", words[1], 1) != 0 || chdir(words[1]) != 0) return 1;
  struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "run/user.sock"};
  int listening = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(listening, (struct sockaddr *)&at, sizeof at) != 0 || listen(listening, 0) != 0) return 1;
  while (connect(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), (struct sockaddr *)&at, sizeof at) == 0);
  if (errno != EAGAIN) return 1;
  alarm(30); // a wait without end ends this program
  for (long long left = 0; left >= -1000; left -= 1000) {
    const char *why = connect_daemon(socket(AF_UNIX, SOCK_STREAM, 0), left);
    puts(why == NULL ? "connected" : why);
  }
  return 0;
}
