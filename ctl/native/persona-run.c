// persona-run: asks personad how to start a program, and becomes that program. The same as `personactl run`, in a
// millisecond instead of thirty. Without an answer in time the program starts as it always has; `secure` does not.
//
//   persona-run [--profile standard|fast|secure] [--quiet] [--enclave NAME] [GRANT...] APP -- COMMAND [ARGUMENT...]
// Nothing is allocated: an answer has one fixed place, and its strings are decoded where they lie.
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
  BUDGET_MS = 250,
  CLOSED_BUDGET_MS = 3000, // of what does not start without an answer
  ANSWER_MAX = 64 * 1024,  // a plan is some hundred bytes
  REQUEST_MAX = 48 * 1024, // a path of PATH_MAX, each byte written as six, and some folders
  DEPTH_MAX = 16,
  LIST_MAX = 512,
  FILTER_FD = 3, // where the words of a plan expect its filter
  // Exit statuses of our own, as shells and other launchers have them.
  OWN_FAILURE = 125, CANNOT_EXECUTE = 126, NOT_THERE = 127,
};

// What the daemon answered. Every string lies in `answer`.
struct list { int count; char *at[LIST_MAX]; };
static struct plan {
  char *type, *profile, *filter;
  char *code, *message, *hint; // of a refusal
  struct list words, set, values, unset, keep, notices;
} plan;

static char answer[ANSWER_MAX + 1], request[REQUEST_MAX + 1], program[PATH_MAX + 1];
static const char ended[] = "the daemon has ended the connection", crowded[] = "too-many-requests";
static size_t asked; // of the request
static int granted;  // options that grant something

// Says one line. What came from elsewhere may hold anything: only plain text reaches the terminal.
static void say(const char *a, const char *b, const char *c) {
  char line[2048];
  size_t length = 0;
  const char *parts[] = {"persona-run: ", a, b, c};
  for (int i = 0; i < 4; i++)
    for (const char *at = parts[i]; *at != 0 && length < sizeof line - 1; at++)
      line[length++] = *at >= ' ' && *at <= '~' ? *at : '?';
  line[length++] = '\n';
  if (write(STDERR_FILENO, line, length) < 0) return; // nobody listens: no reason not to start
}

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

// ---- the answer: a reader that walks over JSON once. Anything it does not expect makes the whole answer count as none.

// Where in an answer the reader is, and which members lead further. From UNSET on they are lists of texts.
enum place { OTHER, TOP, DATA, RESULT, REFUSAL, ENVIRONMENT, SET, UNSET, KEEP, WORDS, NOTICES };
static struct list *const lists[] = {&plan.unset, &plan.keep, &plan.words, &plan.notices};
static const struct { enum place in; const char *name; enum place to; } ways[] = {
    {TOP, "data", DATA},         {DATA, "result", RESULT},           {DATA, "error", REFUSAL},
    {RESULT, "argv", WORDS},     {RESULT, "environment", ENVIRONMENT}, {ENVIRONMENT, "set", SET},
    {RESULT, "notices", NOTICES}, {ENVIRONMENT, "unset", UNSET},     {ENVIRONMENT, "keep", KEEP},
};
// Texts that are wanted. `at` is where they go.
static const struct { enum place in; const char *name; char **at; } texts[] = {
    {TOP, "type", &plan.type},           {RESULT, "profile", &plan.profile}, {REFUSAL, "code", &plan.code},
    {REFUSAL, "message", &plan.message}, {REFUSAL, "hint", &plan.hint},     {RESULT, "filter", &plan.filter},
};
#define MANY(array) (int)(sizeof array / sizeof *array)

static char *in = answer; // the next character; a zero ends the answer

static char after_space(void) {
  return *(in += strspn(in, " \t\r\n"));
}

static bool take(char wanted) {
  return after_space() == wanted && in++ != NULL;
}

// Four hex digits, or -1.
static long hex4(const char *at) {
  char text[5] = {0};
  for (int i = 0; i < 4; i++)
    if (!isxdigit((unsigned char)(text[i] = at[i]))) return -1;
  return strtol(text, NULL, 16);
}

// Decodes what follows `\u`: never longer than what it stood for. A zero would cut the string: it is refused.
static char *unicode(char *to) {
  long c = hex4(in), low = -1;
  if (c <= 0) return NULL;
  in += 4;
  if (c >= 0xd800 && c <= 0xdfff) {
    if (c <= 0xdbff && in[0] == '\\' && in[1] == 'u') low = hex4(in + 2);
    if (low < 0xdc00 || low > 0xdfff) return NULL;
    c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    in += 6;
  }
  int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  static const int lead[] = {0, 0xc0, 0xe0, 0xf0};
  *to++ = (char)(lead[more] | c >> 6 * more);
  while (more-- > 0) *to++ = (char)(0x80 | (c >> 6 * more & 0x3f));
  return to;
}

// A string, decoded in place; NULL when it is none.
static char *string(void) {
  static const char escapes[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
  if (!take('"')) return NULL;
  char *start = in, *to = in;
  while (*in != '"') {
    char c = *in++;
    if ((unsigned char)c < ' ') return NULL; // the end of the answer is one of these
    const char *known = c != '\\' || *in == 0 ? NULL : strchr(escapes, *in);
    if (c != '\\') *to++ = c;
    else if (known != NULL) *to++ = means[known - escapes], in++;
    else if (*in++ != 'u' || (to = unicode(to)) == NULL) return NULL;
  }
  in++;
  *to = 0;
  return start;
}

static bool append(struct list *list, char *text) {
  return list->count < LIST_MAX && (list->at[list->count++] = text) != NULL;
}

// Keeps a string where it belongs.
static bool keep(enum place place, char *name, char *text) {
  if (place >= UNSET) return append(lists[place - UNSET], text);
  if (place == SET)
    return *name != 0 && strchr(name, '=') == NULL && append(&plan.set, name) && append(&plan.values, text);
  for (int i = 0; i < MANY(texts); i++)
    if (texts[i].in == place && strcmp(texts[i].name, name) == 0) *texts[i].at = text;
  return true;
}

// Reads one value: `name` is that of the member, empty in an array.
static bool value(enum place in_place, char *name, int depth) {
  char open = after_space();
  char *text = open == '"' ? string() : NULL;
  if (open == '"') return text != NULL && keep(in_place, name, text);
  if (in_place >= SET) return false; // only texts
  if (open != '{' && open != '[') { // a number or a word: none of them is of use
    size_t length = strspn(in, "+-.0123456789Eaeflnrstu");
    in += length;
    return length > 0;
  }
  // Members of a list stand for the list itself; what is nested where nothing leads is passed over.
  enum place place = OTHER;
  for (int i = 0; i < MANY(ways); i++)
    if (ways[i].in == in_place && strcmp(ways[i].name, name) == 0) place = ways[i].to;
  if (depth == 0) place = TOP;
  if (depth == DEPTH_MAX || (place != OTHER && (place >= UNSET) != (open == '['))) return false;
  char close = open == '{' ? '}' : ']';
  in++;
  if (take(close)) return true;
  do {
    char *member = open == '{' ? string() : "";
    if (member == NULL || (open == '{' && !take(':')) || !value(place, member, depth + 1)) return false;
  } while (take(','));
  return take(close);
}

// Reads the answer. False when it is none that can be followed.
static bool read_plan(void) {
  if (!value(OTHER, "", 0) || after_space() != 0 || plan.type == NULL || strcmp(plan.type, "reply") != 0) return false;
  if (plan.code != NULL) return plan.message != NULL;
  return plan.profile != NULL && (plan.words.count == 0 ? plan.filter == NULL : plan.words.at[0][0] == '/');
}

// ---- the call

// Appends texts to the request, up to NULL; every second one as the inside of a JSON string. What does not fit fills it up.
static void put(const char *text, ...) {
  va_list more;
  va_start(more, text);
  for (bool quoted = false; text != NULL; quoted = !quoted, text = va_arg(more, const char *))
    for (; *text != 0; text++) {
      unsigned char c = (unsigned char)*text;
      bool plain = !quoted || (c >= ' ' && c != '"' && c != '\\');
      size_t room = REQUEST_MAX - asked;
      size_t wrote = (size_t)snprintf(request + asked, room + 1, plain ? "%c" : "\\u%04x", c);
      asked += wrote < room ? wrote : room;
    }
  va_end(more);
}

// What is to be started, as the kernel knows it: a name alone says little. Left out where it cannot be told.
static void put_executable(void) {
  int fd = open(program, O_PATH | O_CLOEXEC);
  char link[32], path[PATH_MAX], numbers[96];
  struct stat found;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  bool known = fstat(fd, &found) == 0 && size > 0 && path[0] == '/';
  close(fd);
  if (!known) return;
  path[size] = 0;
  snprintf(numbers, sizeof numbers, "\",\"device\":\"%llu\",\"inode\":\"%llu\"}",
           (unsigned long long)found.st_dev, (unsigned long long)found.st_ino);
  put(",\"executable\":{\"path\":\"", path, numbers, NULL);
}

// Takes an option that grants something. Answers how many words it has, 0 when it is none.
static int grant(char **words, int left) {
  static const char *const switches[] = {"--net", "--display", "--wayland", "--sound", "--gpu", "--bus", "--agent"};
  const char *before = granted++ == 0 ? "\"grants\":[" : ",";
  for (int i = 0; i < MANY(switches); i++)
    if (strcmp(words[0], switches[i]) == 0) return put(before, "", "\"", words[0] + 2, "\"", NULL), 1;
  bool folder = strcmp(words[0], "--show") == 0 || strcmp(words[0], "--share") == 0;
  if (!folder || left < 2 || words[1][0] != '/') return 0;
  return put(before, "", "{\"", words[0] + 2, "\":\"", words[1], "\"}", NULL), 2;
}

// Connects to the socket for everybody, or answers why not. Only root or the caller has a daemon to listen to.
static const char *connect_daemon(int fd, long long left_ms) {
  if (left_ms <= 0) return "no answer in time"; // a budget of nothing would be none at all
  const char *root = getenv("PERSONA_ROOT");
  bool private = root != NULL && *root != 0;
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  int length = snprintf(to.sun_path, sizeof to.sun_path, "%s/run%s/user.sock", private ? root : "", private ? "" : "/persona");
  if (length >= (int)sizeof to.sun_path) return "the path of its socket is too long";
  // Other launches may be in front of us: the wait for a place in the queue is part of the budget.
  struct timeval budget = {.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
  struct ucred peer;
  socklen_t size = sizeof peer;
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &budget, sizeof budget);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
    return errno == EAGAIN ? "the daemon has no time"
           : errno == ENOENT || errno == ECONNREFUSED ? "the daemon does not run" : strerror(errno);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return strerror(errno);
  return peer.uid == 0 || peer.uid == getuid() ? NULL : "another user's program listens there";
}

// Sends the request and reads one frame, all of it before `deadline`. Answers why there is none, or NULL.
static const char *exchange(int fd, long long deadline) {
  const char *why = asked == REQUEST_MAX ? "the request is too long" : connect_daemon(fd, deadline - now_ms());
  if (why != NULL) return why;
  if (send(fd, request, asked, MSG_NOSIGNAL) != (ssize_t)asked) return "the daemon does not listen";
  for (size_t have = 0; have < ANSWER_MAX;) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    long long left = deadline - now_ms();
    int events = left > 0 ? poll(&ready, 1, (int)left) : 0;
    if (events == 0) return "no answer in time";
    ssize_t got = events < 0 ? events : recv(fd, answer + have, ANSWER_MAX - have, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return ended;
    char *end = memchr(answer + have, '\f', (size_t)got);
    if (end != NULL) return *end = 0, NULL;
    have += (size_t)got;
  }
  return "the answer is too long";
}

// Gets a plan, or a refusal. Answers why there is neither, or NULL. Who is `closed` comes again when too many ask at once.
static const char *get_plan(bool closed) {
  long long deadline = now_ms() + (closed ? CLOSED_BUDGET_MS : BUDGET_MS);
  for (int pause = 16;; pause = pause < 128 ? pause * 2 : pause) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const char *why = fd < 0 ? strerror(errno) : exchange(fd, deadline);
    close(fd);
    if (why == NULL && !read_plan()) return "the daemon's answer makes no sense";
    bool again = why == ended || (why == NULL && plan.code != NULL && strcmp(plan.code, crowded) == 0);
    int rest = pause + getpid() % pause; // not all at the same time again
    if (!closed || !again || now_ms() + rest > deadline) return why;
    poll(NULL, 0, rest);
    memset(&plan, 0, sizeof plan);
    in = answer;
  }
}

// ---- the start

// Finds the program as a shell does. Answers 0, or the exit status that says why not.
static int find_program(const char *command) {
  const char *path = strchr(command, '/') != NULL ? "" : getenv("PATH");
  const char *between = strchr(command, '/') != NULL ? "" : "/";
  int status = NOT_THERE;
  for (const char *at = path == NULL ? "/usr/local/bin:/usr/bin:/bin" : path;; at++) {
    int length = (int)strcspn(at, ":");
    const char *here = length == 0 && *between != 0 ? "." : ""; // an empty entry of PATH
    int size = snprintf(program, sizeof program, "%s%.*s%s%s", here, length, at, between, command);
    struct stat found;
    if (size < (int)sizeof program && stat(program, &found) == 0) {
      if (S_ISREG(found.st_mode) && access(program, X_OK) == 0) return 0;
      status = CANNOT_EXECUTE;
    }
    at += length;
    if (*at == 0) return status;
  }
}

static bool named(const struct list *names, const char *variable) {
  for (int i = 0; i < names->count; i++) {
    size_t length = strlen(names->at[i]);
    if (strncmp(variable, names->at[i], length) == 0 && variable[length] == '=') return true;
  }
  return false;
}

// Becomes the program. Returns only when that fails.
static int start(int count, char **command) {
  static char variables[sizeof answer]; // "NAME=VALUE" is shorter than it was in the answer
  size_t old = 0, kept = 0, used = 0, prefix = (size_t)plan.words.count;
  while (environ[old] != NULL) old++;
  char *environment[old + LIST_MAX + 1], *words[(size_t)count + LIST_MAX + 2];
  for (size_t i = 0; i < old; i++)
    if ((plan.keep.count == 0 || named(&plan.keep, environ[i])) && !named(&plan.unset, environ[i]) &&
        !named(&plan.set, environ[i]))
      environment[kept++] = environ[i];
  for (int i = 0; i < plan.set.count; i++) {
    environment[kept++] = variables + used;
    used += 1 + (size_t)snprintf(variables + used, sizeof variables - used, "%s=%s", plan.set.at[i], plan.values.at[i]);
  }
  environment[kept] = NULL;
  memcpy(words + 1, plan.words.at, sizeof *words * prefix);
  memcpy(words + 1 + prefix, command, sizeof *words * ((size_t)count + 1));
  const char *file = prefix > 0 ? plan.words.at[0] : program;
  // What is kept apart gets no descriptor of its caller's beside the standard streams, and its filter as the next.
  bool ready = plan.filter == NULL || (close_range(FILTER_FD, ~0U, 0) == 0 && open(plan.filter, O_RDONLY) == FILTER_FD);
  if (!ready) return say(plan.filter, " cannot be opened: ", strerror(errno)), OWN_FAILURE;
  execve(file, words + 1, environment);
  if (errno == ENOEXEC && prefix == 0) { // a script without a first line
    words[0] = "sh";
    words[1] = program;
    execve("/bin/sh", words, environment);
  }
  int status = prefix > 0 ? OWN_FAILURE : errno == ENOENT ? NOT_THERE : CANNOT_EXECUTE;
  say(file, " cannot be started: ", strerror(errno));
  return status;
}

static int usage(int status) {
  static const char text[] =
      "usage: persona-run [--profile standard|fast|secure] [--quiet] [--enclave NAME] [GRANT...] APP -- COMMAND [ARGUMENT...]\n"
      "Asks personad how to start the application APP, and becomes COMMAND: see `personactl help run`.\n";
  return write(status == 0 ? 1 : 2, text, sizeof text - 1) < 0 ? OWN_FAILURE : status;
}

int main(int count, char **words) {
  const char *profile = NULL, *enclave = NULL;
  bool quiet = false;
  int at = 1;
  put("{\"type\":\"launch.plan\",\"data\":{\"id\":1,\"params\":{", NULL);
  for (int taken = 1; at < count && words[at][0] == '-'; at += taken) {
    bool pair = at + 1 < count;
    if (strcmp(words[at], "--help") == 0) return usage(0);
    if (strcmp(words[at], "--quiet") == 0) quiet = true, taken = 1;
    else if (pair && strcmp(words[at], "--profile") == 0) profile = words[at + 1], taken = 2;
    else if (pair && strcmp(words[at], "--enclave") == 0) enclave = words[at + 1], taken = 2;
    else if ((taken = grant(words + at, count - at)) == 0) return usage(OWN_FAILURE);
  }
  if (at + 2 >= count || strcmp(words[at + 1], "--") != 0) return usage(OWN_FAILURE);
  bool secure = profile != NULL && strcmp(profile, "secure") == 0;
  if (profile != NULL && !secure && strcmp(profile, "standard") != 0 && strcmp(profile, "fast") != 0)
    return usage(OWN_FAILURE);
  // Who grants something counts on everything else being kept from the program.
  bool closed = secure || granted > 0 || enclave != NULL;
  const char *app = words[at];
  char **command = words + at + 2;
  int status = find_program(command[0]);
  const char *lacking = status == NOT_THERE ? ": there is no such program" : " cannot be executed";
  if (status != 0) return say(command[0], lacking, ""), status;
  put(granted > 0 ? "],\"app\":\"" : "\"app\":\"", app, "\"", NULL);
  put_executable();
  if (profile != NULL) put(",\"profile\":\"", profile, "\"", NULL);
  if (enclave != NULL) put(",\"enclave\":\"", enclave, "\"", NULL);
  put("}}}\f", NULL);
  const char *why = get_plan(closed);
  if (why == NULL && plan.code != NULL) why = plan.message;
  closed = closed || (why != NULL && plan.code != NULL && strcmp(plan.code, "profile-unavailable") == 0);
  // `secure` fails closed: what was not asked for is not started.
  if (why == NULL && closed && strcmp(plan.profile, "secure") != 0) why = "the daemon answered with another profile";
  if (why != NULL && closed) {
    if (plan.code == NULL) say("cannot start ", app, " as secure:");
    say(why, "", "");
    if (plan.code != NULL && plan.hint != NULL) say(plan.hint, "", "");
    return OWN_FAILURE;
  }
  if (why != NULL && !quiet) say(app, " starts as standard: ", why);
  if (why != NULL) memset(&plan, 0, sizeof plan);
  for (int i = 0; i < plan.notices.count && !quiet; i++) say(plan.notices.at[i], "", "");
  return start(count - at - 2, command);
}
