/* Grants, lists and flags of the command line, from a program in C, with a private manager. */

#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <sublet.h>

#define PARTS 3
#define MOST_BYTES 65536

struct pair {
  double a, b;
};

/* What another process would do: it has bytes, a session of its own, and nothing else. */
static void claim(sublet_session* session, const sublet_options* options, const void* bytes,
                  size_t size) {
  sublet_grants* mine = NULL;
  sublet_lease* lease = NULL;
  sublet_lease* again = NULL;
  sublet_function* multiply = NULL;
  size_t parts = 0;
  size_t workers = 0;
  CHECK_OK(sublet_grants_unpack(bytes, size, &mine));
  CHECK_OK(sublet_grants_parts(mine, &parts));
  CHECK(parts == 1);
  CHECK_OK(sublet_lease_claim(session, mine, options, &lease));
  CHECK_OK(sublet_lease_workers(lease, &workers));
  CHECK(workers == 2);
  CHECK_OK(sublet_function_open(lease, C_FUNCTIONS, "multiply", NULL, &multiply));
  const struct pair pair = {6, 7};
  double product = 0;
  CHECK_OK(sublet_call(multiply, &pair, sizeof pair, &product, sizeof product, NULL));
  CHECK(product == 42);
  CHECK_CODE(SUBLET_ERR_DENIED, sublet_lease_claim(session, mine, options, &again));
  CHECK(again == NULL);
  CHECK_OK(sublet_function_free(&multiply));
  CHECK_OK(sublet_lease_free(&lease));
  CHECK_OK(sublet_grants_free(&mine));
  CHECK(mine == NULL);
  CHECK_OK(sublet_grants_free(&mine));
}

static void check_grants(sublet_session* session, const sublet_options* options) {
  static char bytes[MOST_BYTES];
  sublet_grants* all = NULL;
  sublet_grants* none = NULL;
  sublet_lease* lease = NULL;
  sublet_session* detached = NULL;
  size_t parts = 0;
  size_t size = 0;
  sublet_holder holders[PARTS];
  CHECK_OK(sublet_session_open_detached(options, &detached));
  for (size_t part = 0; part < PARTS; ++part) {
    CHECK_OK(sublet_session_holder(detached, &holders[part]));
  }
  CHECK_OK(sublet_session_request(session, 2, PARTS, holders, options, &all));
  CHECK_OK(sublet_grants_parts(all, &parts));
  CHECK(parts == PARTS);
  CHECK_CODE(SUBLET_ERR_COUNT, sublet_lease_claim(session, all, options, &lease));
  for (size_t part = 0; part + 1 < PARTS; ++part) {
    size_t again = 0;
    CHECK_OK(sublet_grants_pack(all, part, NULL, 0, &size));
    CHECK(size > 0 && size <= sizeof bytes);
    bytes[0] = 'x';
    CHECK_OK(sublet_grants_pack(all, part, bytes, size - 1, &again));
    CHECK(again == size && bytes[0] == 'x');
    CHECK_OK(sublet_grants_pack(all, part, bytes, sizeof bytes, &again));
    /* Whoever else has the bytes has nothing. */
    CHECK_OK(sublet_grants_unpack(bytes, size, &none));
    CHECK_CODE(SUBLET_ERR_DENIED, sublet_lease_claim(session, none, options, &lease));
    CHECK_OK(sublet_grants_free(&none));
    claim(detached, options, bytes, size);
  }
  /* Bytes that are none, or not all. */
  CHECK_CODE(SUBLET_ERR_INVALID, sublet_grants_unpack("nonsense", 8, &none));
  CHECK_CODE(SUBLET_ERR_INVALID, sublet_grants_unpack(bytes, 0, &none));
  for (size_t cut = 1; cut < size; cut += 7) {
    CHECK_CODE(SUBLET_ERR_INVALID, sublet_grants_unpack(bytes, size - cut, &none));
  }
  CHECK(none == NULL);
  CHECK_CODE(SUBLET_ERR_COUNT, sublet_grants_pack(all, PARTS, bytes, sizeof bytes, &size));
  CHECK_OK(sublet_grants_give_back(session, all));
  CHECK_OK(sublet_grants_free(&all));
  CHECK_OK(sublet_session_free(&detached));

  CHECK_CODE(SUBLET_ERR_COUNT, sublet_session_request(session, 0, 1, NULL, options, &none));
  CHECK_CODE(SUBLET_ERR_COUNT, sublet_session_request(session, 1, -1, NULL, options, &none));
  CHECK_CODE(SUBLET_ERR_OVERLOADED,
             sublet_session_request(session, 1000, 1000, NULL, options, &none));
  CHECK_CODE(SUBLET_ERR_HANDLE, sublet_session_request(NULL, 1, 1, NULL, options, &none));
  CHECK_CODE(SUBLET_ERR_ARGUMENT, sublet_session_request(session, 1, 1, NULL, options, NULL));
  CHECK_CODE(SUBLET_ERR_HANDLE, sublet_session_holder(NULL, holders));
  CHECK_CODE(SUBLET_ERR_ARGUMENT, sublet_session_holder(session, NULL));
  CHECK_CODE(SUBLET_ERR_HANDLE, sublet_grants_parts(NULL, &parts));
  CHECK_CODE(SUBLET_ERR_HANDLE, sublet_lease_claim(session, NULL, options, &lease));
  CHECK_CODE(SUBLET_ERR_HANDLE, sublet_grants_give_back(session, NULL));
  CHECK_CODE(SUBLET_ERR_ARGUMENT, sublet_grants_unpack(NULL, 8, &none));
  CHECK_CODE(SUBLET_ERR_ARGUMENT, sublet_grants_free(NULL));
}

static void check_lists(sublet_session* session, const sublet_options* options) {
  sublet_lease* lease = NULL;
  sublet_node_info nodes[4];
  sublet_lease_info leases[64];
  uint64_t id = 0;
  size_t count = 0;
  int is_private = 0;
  CHECK_OK(sublet_session_manager_is_private(session, &is_private));
  CHECK(is_private == 1);
  CHECK_OK(sublet_lease_open(session, 2, options, &lease));
  CHECK_OK(sublet_lease_id(lease, &id));
  CHECK_OK(sublet_session_nodes(session, NULL, 0, &count));
  CHECK(count == 1);
  CHECK_OK(sublet_session_nodes(session, nodes, 4, &count));
  CHECK(count == 1 && strcmp(nodes[0].state, "up") == 0 && strlen(nodes[0].name) > 0);
  CHECK(nodes[0].cores >= nodes[0].free_cores + 2 && nodes[0].widest_worker >= 1);
  CHECK(nodes[0].memory_bytes >= nodes[0].free_memory_bytes && strlen(nodes[0].cpuset) > 0);

  CHECK_OK(sublet_session_leases(session, leases, 64, &count));
  int found = 0;
  for (size_t i = 0; i < count && i < 64; ++i) {
    if (leases[i].id != id) continue;
    ++found;
    CHECK(leases[i].cores == 2 && strcmp(leases[i].state, "active") == 0);
    CHECK(strchr(leases[i].owner, '@') != NULL && strcmp(leases[i].nodes, nodes[0].name) == 0);
    CHECK(leases[i].expires_unix_ms > 0);
  }
  CHECK(found == 1);
  CHECK_OK(sublet_lease_free(&lease));
  CHECK_CODE(SUBLET_ERR_HANDLE, sublet_session_nodes(NULL, nodes, 4, &count));
  CHECK_CODE(SUBLET_ERR_ARGUMENT, sublet_session_leases(session, NULL, 1, &count));
  CHECK_CODE(SUBLET_ERR_ARGUMENT, sublet_session_leases(session, leases, 1, NULL));
  CHECK_CODE(SUBLET_ERR_COUNT, sublet_session_nodes(session, nodes, (size_t)-1, &count));
}

static void check_flags(void) {
  char program[] = "app";
  char own[] = "--of-the-app";
  char name[] = "--sublet-timeout-ms=30000";
  char oversubscribe[] = "--sublet-private-oversubscribe";
  char times[] = "16";
  char last[] = "file";
  char wrong[] = "--sublet-pigeon=1";
  char* argv[] = {program, own, name, oversubscribe, times, last, NULL};
  int argc = 6;
  sublet_options* options = NULL;
  sublet_session* session = NULL;
  sublet_node_info node;
  size_t count = 0;
  CHECK_OK(sublet_options_create(&options));
  CHECK_OK(sublet_options_take_flags(options, &argc, argv));
  CHECK(argc == 3 && argv[0] == program && argv[1] == own && argv[2] == last && argv[3] == NULL);
  CHECK_OK(sublet_options_take_flags(options, &argc, argv)); /* there is none any more */
  CHECK(argc == 3);
  CHECK_OK(sublet_options_free(&options));

  char* again[] = {program, oversubscribe, times, wrong, NULL};
  argc = 4;
  CHECK_OK(sublet_options_create(&options));
  CHECK_CODE(SUBLET_ERR_OPTION, sublet_options_take_flags(options, &argc, again));
  CHECK(argc == 4 && again[1] == oversubscribe && again[3] == wrong);
  CHECK(strstr(sublet_last_error(), "--sublet-pigeon") != NULL);
  argc = 3;
  again[3] = NULL;
  CHECK_OK(sublet_options_take_flags(options, &argc, again));
  CHECK_OK(sublet_session_open(options, &session));
  CHECK_OK(sublet_session_nodes(session, &node, 1, &count));
  CHECK(node.cores % 16 == 0);
  CHECK_OK(sublet_session_free(&session));
  CHECK_OK(sublet_options_free(&options));
  CHECK_CODE(SUBLET_ERR_HANDLE, sublet_options_take_flags(NULL, &argc, again));
}

int main(void) {
  sublet_session* session = NULL;
  sublet_options* options = NULL;
  check_flags(); /* its session starts the private manager of this process */
  CHECK_OK(sublet_options_create(&options));
  CHECK_OK(sublet_options_set(options, "private_oversubscribe", "16"));
  CHECK_OK(sublet_options_set(options, "arena_bytes", "16777216"));
  CHECK_OK(sublet_options_set(options, "memory_bytes", "33554432"));
  CHECK_OK(sublet_session_open(options, &session));
  if (failures > 0) return EXIT_FAILURE;
  check_grants(session, options);
  check_lists(session, options);
  CHECK_OK(sublet_options_free(&options));
  CHECK_OK(sublet_session_free(&session));
  return failures > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
