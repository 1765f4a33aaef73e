# Underpass. `make help` lists the targets.
#
# Files are found by wildcard: a new source file needs no line here. One run builds one variant into
# $(B); the variants (clang, ASan) are the same Makefile with another B, CXX and SANITIZE.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
SHELL := /bin/bash
MAKEFLAGS += --no-builtin-rules

B ?= build
PREFIX ?= /usr/local
ifeq ($(origin CXX),default)
CXX := g++
endif
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
BPFTOOL ?= $(or $(shell PATH="$$PATH:/usr/sbin" command -v bpftool),bpftool)
LWIP_SRC ?= build/deps/lwip-2.1.3
JOBS ?= $(shell nproc)

# V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),@:,@echo "  $(1) $@")

# --- flags -------------------------------------------------------------------------------------

OPTIMIZE ?= -O2 -g
WERROR ?= -Werror
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion $(WERROR)
IS_CLANG := $(findstring clang,$(shell $(CXX) --version 2>/dev/null | head -n 1))
ifneq ($(IS_CLANG),)
WARNINGS += -Wthread-safety -Werror=thread-safety
else
# g++ 12 sees overlapping copies inside std::string's own assignment (GCC bug 105651).
WARNINGS += -Wno-restrict
endif

# Fortified names are calls like the others, so nothing of ours is fortified. The library is always
# loaded with the program, so its thread-locals can have fixed offsets (and never allocate).
COMMON := $(OPTIMIZE) -fPIC -fvisibility=hidden -fexceptions -ftls-model=initial-exec \
          -U_FORTIFY_SOURCE -I. $(SANITIZE)
CXXFLAGS_ALL := -std=c++20 $(COMMON) $(WARNINGS) -isystem $(B)/gen $(CXXFLAGS)
LWIP_INCLUDES := -Istack -Istack/lwip_port -isystem $(LWIP_SRC)/src/include
# lwIP's own code is not held to our warnings, and shifts bytes into the sign bit.
LWIP_CFLAGS := -std=gnu11 $(COMMON) $(if $(SANITIZE),-fno-sanitize=shift) -Wall -Wno-address -Wno-unused-variable \
               -Wno-tautological-constant-out-of-range-compare $(WERROR) -Istack \
               -Istack/lwip_port -I$(LWIP_SRC)/src/include -include stack/lwip_port/overrides.h $(CFLAGS)
DEPS = -MMD -MP -MF $(@:.o=.d)

# The program under test may be preloaded, the libraries of broker and tools are Debian's.
BROKER_LIBS := -lxdp -lbpf -lelf -lz -lmnl -lfmt
LDFLAGS_ALL := -Wl,--as-needed $(SANITIZE) $(LDFLAGS)

# The library is optimized as a whole (a tenth of a round trip); the objects also hold plain code, for
# the archives. Not with clang, whose objects the linker does not read, nor where it would only take
# time.
ifeq ($(IS_CLANG)$(SANITIZE),)
LTO := -flto=auto -ffat-lto-objects
endif

# --- sources -----------------------------------------------------------------------------------

object = $(patsubst %,$(B)/obj/%.o,$(basename $(1)))

BASE_SRC := $(wildcard base/*.cpp)
XDP_SRC := $(wildcard xdp/*.cpp)
BROKER_SRC := $(wildcard xdp/broker/*.cpp)
STACK_SRC := $(wildcard stack/*.cpp stack/lwip_port/*.cpp)
# The public class: in libunderpass-socket and not in the preloaded library.
CLASS_SRC := stack/socket.cpp stack/socket_address.cpp stack/socket_handle.cpp stack/interface.cpp
SHIM_SRC := $(wildcard shim/*.cpp)
TOOLS_SRC := $(wildcard tools/*.cpp)
BENCH_SRC := $(wildcard tools/bench/*.cpp)
TEST_SRC := $(filter-out tests/preload/%,$(wildcard tests/*/*.cpp tests/socket/programs/*.cpp))

LWIP_CORE := def inet_chksum init ip mem memp netif pbuf raw stats sys tcp tcp_in tcp_out timeouts \
             udp ipv4/icmp ipv4/ip4 ipv4/ip4_addr ipv4/ip4_frag ipv6/icmp6 ipv6/ip6 ipv6/ip6_addr \
             ipv6/ip6_frag ipv6/nd6
LWIP_OBJ := $(LWIP_CORE:%=$(B)/obj/lwip/%.o)

BASE_OBJ := $(call object,$(BASE_SRC))
XDP_OBJ := $(call object,$(XDP_SRC))
BROKER_OBJ := $(call object,$(BROKER_SRC))
STACK_OBJ := $(call object,$(STACK_SRC))
CLASS_OBJ := $(call object,$(CLASS_SRC))
SHIM_OBJ := $(call object,$(SHIM_SRC))
TOOLS_OBJ := $(call object,$(TOOLS_SRC))
# The files with main(); all others can be linked into a test.
BROKER_MAIN := $(call object,$(wildcard xdp/broker/main.cpp))
TOOLS_MAIN := $(call object,$(wildcard tools/underpass.cpp))

# --- products ----------------------------------------------------------------------------------

# Each product is built as soon as its folder has sources.
LIBRARY := $(if $(SHIM_SRC),$(B)/libunderpass.so)
CLASS_LIBRARIES := $(B)/libunderpass-socket.so $(B)/libunderpass-socket.a
BROKER := $(if $(BROKER_MAIN),$(B)/underpassd)
TOOL := $(if $(TOOLS_MAIN),$(B)/underpass)
# Each tools/bench/NAME.cpp is a program of its own: $(B)/bench/NAME.
BENCH := $(BENCH_SRC:tools/bench/%.cpp=$(B)/bench/%)
# Each tests/preload/NAME.c or .cpp is a program to be run under the library, tests/netns/programs/NAME.cpp
# one beside it: no library of ours.
PRELOAD := $(addprefix $(B)/,$(basename $(wildcard tests/preload/*.c) \
             $(filter-out %_test.cpp,$(wildcard tests/preload/*.cpp)) \
             $(wildcard tests/netns/programs/*.cpp)))
# What makes the calls of the differential tests: a program without our library.
DIFF_SRC := $(wildcard tests/diff/executor/*.cpp)
DIFF_EXECUTOR := $(B)/tests/diff/executor
# Each tests/socket/programs/NAME.cpp is a program on the Socket class, with the scenarios in it.
SOCKET_PROGRAMS := $(patsubst %.cpp,$(B)/%,$(wildcard tests/socket/programs/*.cpp))

# Each tests/vm/NAME.bpf.c is an XDP program of a user, tests/netns/programs/NAME.bpf.c one of the wire.
VM_BPF := $(patsubst %.c,$(B)/%.o,$(wildcard tests/vm/*.bpf.c tests/netns/programs/*.bpf.c))

# One test binary for each folder of tests/ that has *_test.cpp. tests/steer needs root.
TEST_FOLDERS := $(patsubst tests/%/,%,$(sort $(dir $(wildcard tests/*/*_test.cpp))))
UNIT_FOLDERS := $(filter-out steer,$(TEST_FOLDERS))
test_binary = $(1:%=$(B)/tests/%_test)
UNIT_TESTS := $(call test_binary,$(UNIT_FOLDERS))
STEER_TESTS := $(call test_binary,$(filter steer,$(TEST_FOLDERS)))
# T= runs some of them: make integration T="tests/netns/redis_test.py"
# The longest first, as several run at a time: TEST_JOBS of them. Most of a test is waiting.
LONGEST_T := tests/preload/transcript_test.py
T ?= $(LONGEST_T) $(filter-out tests/vm/% $(LONGEST_T),$(sort $(wildcard tests/*/*_test.py)))
TEST_JOBS ?= 2
RUN_TESTS := scripts/run_tests --jobs $(TEST_JOBS)
# What runs in virtual machines, on Debian's newer kernel for this release and on the release's own.
# VM_T= runs others on the newer one alone: make test-vm VM_T="tests/vm/can_test.py"
VM_OLD_T := tests/vm/old_kernel_test.py
ifdef VM_T
IN_VM = --vm backports $(VM_T)
else
IN_VM = --vm backports $(filter-out $(VM_OLD_T),$(sort $(wildcard tests/vm/*_test.py))) --vm stock $(VM_OLD_T)
endif

.PHONY: all library broker tool bench-programs
all: $(LIBRARY) $(CLASS_LIBRARIES) $(BROKER) $(TOOL) $(BENCH) $(PRELOAD) $(SOCKET_PROGRAMS) \
     $(DIFF_EXECUTOR) $(VM_BPF)
library: $(LIBRARY) $(CLASS_LIBRARIES)
broker: $(BROKER)
tool: $(TOOL)
bench-programs: $(BENCH)

# --- rules -------------------------------------------------------------------------------------

# Everything is rebuilt when a flag changes.
FLAGS_NOW := $(CXX) $(CC) $(CXXFLAGS_ALL) $(LWIP_CFLAGS) $(LTO)
$(B)/flags: FORCE
	@mkdir -p $(B)
	@echo '$(FLAGS_NOW)' | cmp -s - $@ || echo '$(FLAGS_NOW)' >$@
.PHONY: FORCE
FORCE:

$(B)/obj/%.o: %.cpp $(B)/flags
	@mkdir -p $(@D)
	$(call say,CXX)
	$(Q)$(CXX) $(CXXFLAGS_ALL) $(OBJECT_OPTIMIZE) $(OBJECT_LTO) $(INCLUDES) $(DEPS) -c $< -o $@

# What the library is made of.
$(SHIM_OBJ) $(STACK_OBJ) $(XDP_OBJ) $(BASE_OBJ) $(LWIP_OBJ): OBJECT_LTO := $(LTO)

# Only stack/ sees lwIP.
$(STACK_OBJ): INCLUDES := $(LWIP_INCLUDES)
$(STACK_OBJ): | $(LWIP_SRC)/src/include/lwip/tcp.h
TEST_OBJ := $(call object,$(TEST_SRC))
$(TEST_OBJ): INCLUDES := $(LWIP_INCLUDES)
# Compiled more often than they run: half the time.
$(TEST_OBJ): OBJECT_OPTIMIZE := -O0
# It is a system header to the compiler, which does not name it in its dependencies.
$(call object,xdp/broker/steering.cpp $(wildcard tests/steer/*.cpp)): $(B)/gen/xdp/steer.skel.h

$(B)/obj/lwip/%.o: $(LWIP_SRC)/src/core/%.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(LWIP_CFLAGS) $(OBJECT_LTO) $(DEPS) -c $< -o $@

# Not an intermediate file: without this make would remove a source that appears while it runs.
.PRECIOUS: $(LWIP_SRC)/%
$(LWIP_SRC)/%:
	@echo "$(LWIP_SRC) is missing: run scripts/bootstrap, or name a copy with LWIP_SRC=" >&2; exit 1

# The asm/ headers are in the multiarch folder, which clang does not search for another target.
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
define compile_bpf
@mkdir -p $(@D)
$(call say,BPF)
$(Q)$(CLANG) -O2 -g -target bpf -mcpu=v3 -Wall -Wextra $(WERROR) -I. \
  $(if $(MULTIARCH),-isystem /usr/include/$(MULTIARCH)) $(DEPS) -c $< -o $@
endef
$(B)/steer.bpf.o: xdp/steer.bpf.c $(B)/flags
	$(compile_bpf)
$(B)/tests/vm/%.bpf.o: tests/vm/%.bpf.c $(B)/flags
	$(compile_bpf)
$(B)/tests/netns/programs/%.bpf.o: tests/netns/programs/%.bpf.c $(B)/flags
	$(compile_bpf)

$(B)/gen/xdp/steer.skel.h: $(B)/steer.bpf.o
	@mkdir -p $(@D)
	$(call say,GEN)
	$(Q)$(BPFTOOL) gen skeleton $< name steer_bpf >$@

# Archives, so that a test or a tool takes only what it names.
$(B)/libbase.a: $(BASE_OBJ)
$(B)/libxdp_client.a: $(XDP_OBJ)
$(B)/libbroker.a: $(filter-out $(BROKER_MAIN),$(BROKER_OBJ))
$(B)/libstack.a: $(STACK_OBJ)
$(B)/libshim.a: $(SHIM_OBJ)
$(B)/libtools.a: $(filter-out $(TOOLS_MAIN),$(TOOLS_OBJ))
$(B)/liblwip.a: $(LWIP_OBJ)
$(B)/%.a: $(B)/flags
	@rm -f $@
	$(call say,AR)
	$(Q)ar rcs $@ $(filter %.o,$^)

CLIENT_LIBS := $(B)/libxdp_client.a $(B)/libbase.a
# lwIP and the stack call one another, so the archives are searched as a group. Of the objects their plain
# code is taken: without the option, g++ would optimize each program as a whole, too.
LINKED = -fno-lto $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group
STACK_LIBS := $(B)/libstack.a $(B)/liblwip.a $(CLIENT_LIBS)

# The names of the table are exported and nothing else: libstdc++'s templates would be, otherwise.
$(B)/gen/exports.map: $(wildcard shim/calls.def) scripts/check_exports
	@mkdir -p $(@D)
	$(Q)scripts/check_exports --map $(wildcard shim/calls.def) >$@

# Depends on nothing but libc: a program must not get a second libstdc++ by being preloaded.
$(B)/libunderpass.so: $(SHIM_OBJ) $(filter-out $(CLASS_OBJ),$(STACK_OBJ)) $(XDP_OBJ) $(BASE_OBJ) $(LWIP_OBJ) $(B)/gen/exports.map
	$(call say,LINK)
	$(Q)$(CXX) -shared -o $@ $(filter %.o,$^) $(OPTIMIZE) $(LTO) -static-libstdc++ -static-libgcc \
	  -Wl,--version-script=$(B)/gen/exports.map -Wl,--exclude-libs,ALL -Wl,--no-undefined \
	  -Wl,-z,now -Wl,-z,relro -Wl,-z,nodelete -Wl,-soname,libunderpass.so $(LDFLAGS_ALL)

# The public class. Its users have libstdc++, and share it: exceptions and strings pass the border.
CLASS_PARTS := $(STACK_OBJ) $(XDP_OBJ) $(BASE_OBJ) $(LWIP_OBJ)
CLASS_SONAME := libunderpass-socket.so.0
$(B)/$(CLASS_SONAME): $(B)/underpass-socket.o
	$(call say,LINK)
	$(Q)$(CXX) -shared -o $@ $< $(OPTIMIZE) -Wl,--no-undefined -Wl,-z,now \
	  -Wl,-z,relro -Wl,-z,nodelete -Wl,-soname,$(CLASS_SONAME) $(LDFLAGS_ALL) -pthread
$(B)/libunderpass-socket.so: $(B)/$(CLASS_SONAME)
	$(Q)ln -sf $(CLASS_SONAME) $@

# One object that shows the class and nothing else: lwIP's names are not the program's. Without
# groups: a program's copy of one would take the place of ours, whose names are local by then.
$(B)/underpass-socket.o: $(CLASS_PARTS)
	$(call say,LINK)
	$(Q)$(CXX) -r -nostdlib -o $@ $(filter %.o,$^) $(OPTIMIZE) \
	  $(LTO) $(if $(LTO),-flinker-output=nolto-rel) -Wl,--force-group-allocation
	$(Q)objcopy --localize-hidden -R '.gnu.lto_*' -R '.gnu.debuglto_*' $@
$(B)/libunderpass-socket.a: $(B)/underpass-socket.o
	@rm -f $@
	$(call say,AR)
	$(Q)ar rcs $@ $<

$(B)/underpassd: $(BROKER_OBJ) $(CLIENT_LIBS)
	$(call say,LINK)
	$(Q)$(CXX) -o $@ $(LINKED) $(LDFLAGS_ALL) $(BROKER_LIBS)

$(B)/underpass: $(TOOLS_OBJ) $(STACK_LIBS)
	$(call say,LINK)
	$(Q)$(CXX) -o $@ $(LINKED) $(LDFLAGS_ALL) $(BROKER_LIBS)

$(B)/bench/%: $(B)/obj/tools/bench/%.o $(STACK_LIBS)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CXX) -o $@ $(LINKED) $(OPTIMIZE) $(LTO) $(LDFLAGS_ALL) $(BROKER_LIBS)

# As a program of a user: on the shared library.
$(B)/bench/class_ping_pong: $(B)/obj/tools/bench/class_ping_pong.o $(B)/libunderpass-socket.so
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CXX) -o $@ $(filter %.o,$^) $(LDFLAGS_ALL) -L$(B) -lunderpass-socket -Wl,-rpath,'$$ORIGIN/..'

$(B)/tests/preload/%: tests/preload/%.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(OPTIMIZE) -Wall -Wextra $(WERROR) -D_GNU_SOURCE -MMD -MP -MF $@.d $< -o $@ -pthread
$(B)/tests/preload/%: tests/preload/%.cpp $(B)/flags
	@mkdir -p $(@D)
	$(call say,CXX)
	$(Q)$(CXX) -std=c++20 $(OPTIMIZE) -Wall -Wextra $(WERROR) -I. -MMD -MP -MF $@.d $< -o $@ -pthread
$(B)/tests/netns/programs/%: tests/netns/programs/%.cpp $(B)/flags
	@mkdir -p $(@D)
	$(call say,CXX)
	$(Q)$(CXX) -std=c++20 $(OPTIMIZE) -Wall -Wextra $(WERROR) -I. -MMD -MP -MF $@.d $< -o $@

$(DIFF_EXECUTOR): $(call object,$(DIFF_SRC))
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CXX) -o $@ $(filter %.o,$^) $(SANITIZE) $(LDFLAGS) -pthread

# Those of the unit test are linked with the stack itself.
SCENARIO_OBJ := $(call object,$(filter-out tests/socket/wire_%,$(wildcard tests/socket/*.cpp)))
$(B)/tests/socket/programs/%: $(B)/obj/tests/socket/programs/%.o $(SCENARIO_OBJ) $(B)/libunderpass-socket.so
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CXX) -o $@ $(filter %.o,$^) $(SANITIZE) $(LDFLAGS) -L$(B) -lunderpass-socket \
	  -Wl,-rpath,'$$ORIGIN/../../..' -pthread

TEST_LIBS := $(B)/libtools.a $(B)/libshim.a $(B)/libbroker.a $(STACK_LIBS)
SUPPORT_OBJ := $(call object,$(wildcard tests/support/*.cpp))
define test_rule
$(call test_binary,$(1)): $(call object,$(wildcard tests/$(1)/*.cpp)) $(SUPPORT_OBJ) $(TEST_LIBS)
	@mkdir -p $$(@D)
	$$(call say,LINK)
	$$(Q)$$(CXX) -o $$@ $$(LINKED) $$(LDFLAGS_ALL) -lcriterion $$(BROKER_LIBS) -pthread
endef
$(foreach folder,$(TEST_FOLDERS),$(eval $(call test_rule,$(folder))))

ALL_OBJ := $(BASE_OBJ) $(XDP_OBJ) $(BROKER_OBJ) $(STACK_OBJ) $(SHIM_OBJ) $(TOOLS_OBJ) $(TEST_OBJ) \
           $(call object,$(BENCH_SRC) $(DIFF_SRC)) $(LWIP_OBJ)
-include $(ALL_OBJ:.o=.d) $(B)/steer.bpf.d $(PRELOAD:%=%.d) $(VM_BPF:.o=.d)

# --- tests -------------------------------------------------------------------------------------

.PHONY: test test-vm unit unit-asan steer integration torture diff-test test-programs
test-programs: $(UNIT_TESTS) $(STEER_TESTS)

# scripts/bootstrap comes first: without it there may be nothing to build with.
test:
	scripts/bootstrap
	+$(MAKE) -j$(JOBS) all test-programs
	$(RUN_TESTS) $(UNIT_TESTS) $(STEER_TESTS) $(T) $(IN_VM)
# What this machine's kernel may lack, on Debian's under qemu.
test-vm:
	scripts/bootstrap
	+$(MAKE) -j$(JOBS) all
	$(RUN_TESTS) $(IN_VM)

unit: $(UNIT_TESTS)
	$(RUN_TESTS) $(UNIT_TESTS)
steer: $(STEER_TESTS)
	$(RUN_TESTS) $(STEER_TESTS)
integration: all
	$(RUN_TESTS) $(T)

# Random sequences of calls, on the kernel and on bypass: N of them, of a SEED.
N ?= 200
SEED ?= 1
diff-test: all
	/usr/bin/python3 -B tests/diff/diff_run.py --count $(N) --seed $(SEED)
# 5000 connections, or N of them, that move while they are used.
torture: all
	TORTURE_N=$(if $(filter file,$(origin N)),5000,$(N)) TORTURE_SEED=$(SEED) LAB_LIMIT_S=600 \
	  scripts/run_tests tests/netns/torture_test.py

# By clang, which compiles for sanitizers in a third of the time, so that it is the other compiler
# of `make check`, too. The runtime is shared: an archive would take libc's names from our shim.
ASAN = B=build/asan CXX=clang++ CC=clang OPTIMIZE="-O0 -g" \
  LDFLAGS="-shared-libasan -Wl,-rpath,$(shell clang -print-resource-dir)/lib/linux" \
  SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
unit-asan:
	+$(MAKE) -j$(JOBS) $(ASAN) unit

# --- checks ------------------------------------------------------------------------------------

.PHONY: check format check-format check-docs check-headers check-layers check-exports tidy clang objects
check:
	$(MAKE) check-format check-docs check-layers check-headers
	+$(MAKE) -j$(JOBS) all test-programs
	$(MAKE) check-exports
	$(MAKE) unit
	+$(MAKE) -j$(JOBS) clang
	$(MAKE) unit-asan

# Every source; what it finds, it finds before anything is linked.
clang:
	+$(MAKE) $(ASAN) objects $(PRELOAD:$(B)/%=build/asan/%)
objects: $(ALL_OBJ)

check-format:
	scripts/check_format
format:
	scripts/check_format --fix
check-docs:
	scripts/check_docs
check-layers:
	scripts/check_layers
check-headers: $(if $(wildcard xdp/steer.bpf.c),$(B)/gen/xdp/steer.skel.h)
	$(Q)CXX="$(CXX)" CLANG="$(CLANG)" JOBS="$(JOBS)" scripts/check_headers -isystem $(B)/gen $(LWIP_INCLUDES)
check-exports: $(LIBRARY)
	$(if $(LIBRARY),scripts/check_exports shim/calls.def $(LIBRARY),@echo "no shim yet: nothing to check")
	$(if $(LIBRARY),scripts/check_calls shim/calls.def shim/left_to_libc.txt)
tidy:
	clang-tidy --quiet $(BASE_SRC) $(XDP_SRC) $(STACK_SRC) $(SHIM_SRC) $(TOOLS_SRC) $(BROKER_SRC) -- \
	  $(CXXFLAGS_ALL) $(LWIP_INCLUDES)

# --- running -----------------------------------------------------------------------------------

.PHONY: demo bench install uninstall clean distclean help
demo:
	scripts/bootstrap
	+$(MAKE) -j$(JOBS) all
	scripts/demo
bench:
	scripts/bootstrap
	+$(MAKE) -j$(JOBS) all
	scripts/bench $(BENCH_ARGS)

install: all
	install -D -m 755 $(B)/underpass $(DESTDIR)$(PREFIX)/bin/underpass
	install -D -m 755 $(B)/underpassd $(DESTDIR)$(PREFIX)/sbin/underpassd
	install -D -m 755 $(B)/libunderpass.so $(DESTDIR)$(PREFIX)/lib/underpass/libunderpass.so
	install -D -m 644 stack/socket.h $(DESTDIR)$(PREFIX)/include/underpass/socket.h
	install -D -m 644 $(B)/libunderpass-socket.a $(DESTDIR)$(PREFIX)/lib/libunderpass-socket.a
	install -D -m 755 $(B)/$(CLASS_SONAME) $(DESTDIR)$(PREFIX)/lib/$(CLASS_SONAME)
	ln -sf $(CLASS_SONAME) $(DESTDIR)$(PREFIX)/lib/libunderpass-socket.so
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig
	sed 's|@PREFIX@|$(PREFIX)|' stack/underpass-socket.pc.in \
	  >$(DESTDIR)$(PREFIX)/lib/pkgconfig/underpass-socket.pc
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/underpass $(DESTDIR)$(PREFIX)/sbin/underpassd
	rm -rf $(DESTDIR)$(PREFIX)/lib/underpass $(DESTDIR)$(PREFIX)/include/underpass
	rm -f $(DESTDIR)$(PREFIX)/lib/libunderpass-socket.a $(DESTDIR)$(PREFIX)/lib/$(CLASS_SONAME)
	rm -f $(DESTDIR)$(PREFIX)/lib/libunderpass-socket.so
	rm -f $(DESTDIR)$(PREFIX)/lib/pkgconfig/underpass-socket.pc

# Keeps lwIP's source, which would have to be fetched again.
clean:
	find build -mindepth 1 -maxdepth 1 ! -name deps -exec rm -rf {} + 2>/dev/null || true
distclean:
	rm -rf build

help:
	@echo 'all          build/underpass, build/underpassd, build/libunderpass.so and'
	@echo '             build/libunderpass-socket.so and .a (the default)'
	@echo 'test         install what is missing, build, run every test'
	@echo 'unit         unit tests; unit-asan: under sanitizers'
	@echo 'steer        tests of the XDP program (root)'
	@echo 'integration  tests/*/*_test.py (root); T="FILES" runs only those'
	@echo 'diff-test    N=200 random sequences of socket calls of SEED=1, on the kernel and on bypass (root)'
	@echo 'torture      moves connections at random moments; N=CONNECTIONS SEED=NUMBER'
	@echo 'test-vm      tests/vm/*_test.py on Debian'"'"'s kernel, under qemu; VM_T="FILES" runs only those'
	@echo 'check        format, layers, headers, exports, g++ and clang, unit tests plain and ASan'
	@echo 'format       rewrite the files as check wants them'
	@echo 'demo         programs on the kernel and under Underpass, in a lab'
	@echo 'bench        the benchmark; BENCH_ARGS= goes to scripts/bench'
	@echo 'install      PREFIX=/usr/local DESTDIR=; uninstall takes it away'
	@echo 'clean        remove what was built; distclean: and what was fetched'
