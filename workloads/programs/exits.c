/*
 * exits N: make a known number of VM exits, N by CPUID and N by port writes, and print it as JSON.
 *
 * Without a C library: the start of one executes CPUID itself (34 times, statically linked). Nothing but what is
 * asked for is executed here, and the compiler of the guest image (harness/guests/build.py) needs no headers.
 */

/*
 * CPUID always exits on VT-x, and wherever a hypervisor intercepts it on SVM. Leaves from 0x40000000 to 0x4fffffff are
 * left to hypervisors by the manuals; no hypervisor answers this one.
 */
#define LEAF 0x4f000001U
/*
 * The scratch register of the second serial port: where there is one, what is written is kept and nothing happens; the
 * testbed's guests have none. Not 0x80, as in port delays: Xen lets its guests write to that without an exit
 * (hvm_port80_allowed in xen/arch/x86/hvm/hvm.c). The kernel writes, one byte a call, at /dev/port.
 */
#define PORT 0x2ffU

/* arch/x86/entry/syscalls/syscall_64.tbl */
#define SYS_WRITE 1
#define SYS_OPEN 2
#define SYS_LSEEK 8
#define WRITE_ONLY 1 /* include/uapi/asm-generic/fcntl.h */

static long syscall3(long number, long one, long two, long three)
{
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(one), "S"(two), "d"(three)
			 : "rcx", "r11", "memory");
	return result;
}

static void say(int descriptor, const char *text)
{
	long length = 0;

	while (text[length])
		length++;
	syscall3(SYS_WRITE, descriptor, (long)text, length);
}

static int fail(const char *why)
{
	say(2, "exits: ");
	say(2, why);
	say(2, "\n");
	return 1;
}

/* 0 where it is no number from 1 to 999,999,999. */
static long count(const char *text)
{
	long value = 0;
	int digits;

	for (digits = 0; text[digits] >= '0' && text[digits] <= '9' && digits < 9; digits++)
		value = 10 * value + (text[digits] - '0');
	return text[digits] ? 0 : value;
}

static int make_exits(long times, int ports)
{
	char nothing = 0;
	long n;

	for (n = 0; n < times; n++) {
		unsigned int a = LEAF, b, c = 0, d;

		__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(a), "c"(c));
	}
	for (n = 0; n < times; n++)
		if (syscall3(SYS_LSEEK, ports, PORT, 0) != PORT || syscall3(SYS_WRITE, ports, (long)&nothing, 1) != 1)
			return fail("a port could not be written to");
	return 0;
}

int run(long *stack)
{
	const char *asked = stack[0] == 2 ? (const char *)stack[2] : "";
	long times = count(asked), ports;

	if (!times)
		return fail("one argument: how many exits of each kind, 1 to 999999999");
	ports = syscall3(SYS_OPEN, (long)"/dev/port", WRITE_ONLY, 0);
	if (ports < 0)
		return fail("/dev/port cannot be opened for writing: that takes root");
	if (make_exits(times, ports))
		return 1;
	say(1, "{\"cpuid\": ");
	say(1, asked);
	say(1, ", \"port_writes\": ");
	say(1, asked);
	say(1, "}\n");
	return 0;
}

/* The kernel starts a program with the number of its arguments, and these, on the stack. */
__asm__(".globl _start\n"
	"_start:\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call run\n"
	"	mov %eax, %edi\n"
	"	mov $60, %eax\n" /* SYS_EXIT */
	"	syscall\n");
