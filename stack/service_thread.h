// service_thread.h - a thread of ours in a program that does not know of it
#pragma once

namespace underpass {

// Detached, with every signal blocked: the program's are for the program's threads. False: there is
// none, which is logged.
bool start_service_thread(const char* name, void* (*body)(void*), void* argument);

}  // namespace underpass
