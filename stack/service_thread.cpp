// service_thread.cpp - pthread_create(3) with what such a thread needs
#include "stack/service_thread.h"

#include <pthread.h>
#include <signal.h>

#include <cstring>

#include "base/log.h"

namespace underpass {

bool start_service_thread(const char* name, void* (*body)(void*), void* argument) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread{};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  constexpr size_t kStackBytes = 256 * 1024;
  pthread_attr_setstacksize(&attributes, kStackBytes);
  const int error = pthread_create(&thread, &attributes, body, argument);
  if (error == 0) {
    pthread_setname_np(thread, name);
  } else {
    log_write(LogLevel::warning, "no thread %s: %s", name, strerrordesc_np(error));
  }
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error == 0;
}

}  // namespace underpass
