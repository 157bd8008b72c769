// Counts the instructions that a program executes under qemu-user, and prints the
// number when it exits. QEMU's plugin header is not part of its packages, so what is
// used of it is declared here (API version 1, QEMU 4.2 to 8.2).
#include <inttypes.h>
#include <stdio.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
typedef void (*on_block)(unsigned int cpu, void *data);
typedef void (*on_translate)(qemu_plugin_id_t id, struct qemu_plugin_tb *block);
typedef void (*on_exit_)(qemu_plugin_id_t id, void *data);
enum { NO_REGISTERS };

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, on_translate f);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, on_block f, int registers, void *data);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, on_exit_ f, void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern void qemu_plugin_outs(const char *text);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static uint64_t executed;

static void add(unsigned int cpu, void *n) { __atomic_fetch_add(&executed, (uintptr_t)n, __ATOMIC_RELAXED); }

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
	qemu_plugin_register_vcpu_tb_exec_cb(block, add, NO_REGISTERS, (void *)qemu_plugin_tb_n_insns(block));
}

static void print(qemu_plugin_id_t id, void *data)
{
	char text[64];
	snprintf(text, sizeof text, "%" PRIu64 "\n", executed);
	qemu_plugin_outs(text);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	qemu_plugin_register_atexit_cb(id, print, NULL);
	return 0;
}
