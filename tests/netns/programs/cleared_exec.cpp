// cleared_exec.cpp - cleared_exec NAME=VALUE...: by each way to start a program, env(1) with that
// environment alone
//
// Prints the way, and what env prints.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace {

constexpr const char* kPath = "/usr/bin/env";
constexpr const char* kName = "env";
char** given;
char name[] = "env";
char* const arguments[] = {name, nullptr};

void become_the_environment() {
  clearenv();
  for (char** entry = given; *entry != nullptr; ++entry) putenv(*entry);
}

void spawn(int (*start)(pid_t*, const char*, const posix_spawn_file_actions_t*,
                        const posix_spawnattr_t*, char* const*, char* const*),
           const char* file) {
  pid_t child = 0;
  if (start(&child, file, nullptr, nullptr, arguments, given) != 0) return;
  waitpid(child, nullptr, 0);
  _exit(0);
}

struct Way {
  const char* name;
  void (*start)();
};

constexpr Way kWays[] = {
    {"execve", [] { execve(kPath, arguments, given); }},
    {"execvpe", [] { execvpe(kName, arguments, given); }},
    {"fexecve", [] { fexecve(open(kPath, O_RDONLY | O_CLOEXEC), arguments, given); }},
    {"execveat", [] { execveat(AT_FDCWD, kPath, arguments, given, 0); }},
    {"execle", [] { execle(kPath, kName, nullptr, given); }},
    {"execv",
     [] {
       become_the_environment();
       execv(kPath, arguments);
     }},
    {"execvp",
     [] {
       become_the_environment();
       execvp(kName, arguments);
     }},
    {"execl",
     [] {
       become_the_environment();
       execl(kPath, kName, nullptr);
     }},
    {"execlp",
     [] {
       become_the_environment();
       execlp(kName, kName, nullptr);
     }},
    {"posix_spawn", [] { spawn(posix_spawn, kPath); }},
    {"posix_spawnp", [] { spawn(posix_spawnp, kName); }},
};

}  // namespace

int main(int, char** argv) {
  given = argv + 1;
  for (const Way& way : kWays) {
    printf("%s\n", way.name);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      way.start();
      _exit(1);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) return 1;
  }
}
