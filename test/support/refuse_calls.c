/* refuse_calls ERRNO NUMBER... -- PROGRAM...: runs the program where these system calls fail so, as
 * an old kernel or a container's filter has it. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define MOST_CALLS 16

int main(int argc, char** argv) {
  struct sock_filter code[2 * MOST_CALLS + 2];
  unsigned short n = 0;
  int i;
  code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                           (unsigned)offsetof(struct seccomp_data, nr));
  for (i = 2; i < argc && strcmp(argv[i], "--") != 0 && i < 2 + MOST_CALLS; ++i) {
    code[n++] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)atoi(argv[i]), 0, 1);
    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)atoi(argv[1]));
  }
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog filter = {n, code};
  if (i + 1 >= argc || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    perror("refuse_calls");
    return 99;
  }
  execv(argv[i + 1], argv + i + 1);
  perror("refuse_calls: exec");
  return 99;
}
