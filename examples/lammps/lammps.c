/* Molecular dynamics by LAMMPS, with an analysis of each frame on leased workers.
 *
 *   mpirun -n 2 lammps_analysis [CELLS [FRAMES]]
 *
 * LAMMPS melts a crystal of argon-like atoms, ten steps from frame to frame. Of each frame the pair
 * correlation is counted: in line, which LAMMPS has to wait for, or by each rank's worker, while
 * LAMMPS computes the next steps. Blocks of frames without analysis, with one in line and with one
 * on workers take turns, so that their times can be compared. What workers have counted is counted
 * again in line once a block, and must be equal. */

#include "pairs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sublet_mpi.h>

#define LAMMPS_LIB_MPI
#include <lammps/library.h>

enum { kStepsAFrame = 10, kFramesABlock = 10 };
enum way { kNone, kInLine, kOnWorkers, kWays };

struct simulation {
  int rank, ranks;
  void* lammps;
  int64_t atoms;
  sublet_allocator* workers;
  sublet_lease* lease;
  sublet_function* function;
  sublet_buffer* buffer;
  struct frame* frame; /* in the lease's arena, the positions behind it */
  size_t frame_bytes;
  struct histogram mine; /* of this rank's share of the frame that is analysed */
  sublet_invocation* call;
  int is_under_way;
};

_Noreturn static void give_up(const char* doing, const char* why) {
  fprintf(stderr, "lammps_analysis: %s: %s\n", doing, why);
  MPI_Abort(MPI_COMM_WORLD, 1);
  abort();
}

static void check(int code, const char* doing) {
  if (code != SUBLET_SUCCESS) give_up(doing, sublet_last_error());
}

static void command(struct simulation* s, const char* text) {
  lammps_command(s->lammps, text);
  if (lammps_has_error(s->lammps)) {
    char why[512];
    lammps_get_last_error_message(s->lammps, why, sizeof why);
    give_up(text, why);
  }
}

static void begin(struct simulation* s, int cells) {
  char name[] = "lammps", log[] = "-log", screen[] = "-screen", none[] = "none";
  char* arguments[] = {name, log, none, screen, none, NULL};
  char box[128];
  s->lammps = lammps_open(5, arguments, MPI_COMM_WORLD, NULL);
  if (s->lammps == NULL) give_up("starting LAMMPS", "it does not start");
  snprintf(box, sizeof box, "region box block 0 %d 0 %d 0 %d", cells, cells, cells);
  const char* const setup[] = {"units lj",
                               "atom_style atomic",
                               "lattice fcc 0.8442",
                               box,
                               "create_box 1 box",
                               "create_atoms 1 box",
                               "mass 1 1.0",
                               "velocity all create 3.0 87287 loop geom",
                               "pair_style lj/cut 2.5",
                               "pair_coeff 1 1 1.0 1.0 2.5",
                               "neighbor 0.3 bin",
                               "neigh_modify every 20 delay 0 check no",
                               "fix 1 all nve",
                               "run 0"};
  for (size_t i = 0; i < sizeof setup / sizeof setup[0]; ++i) command(s, setup[i]);
  s->atoms = (int64_t)lammps_get_natoms(s->lammps);
}

static void lease_worker(struct simulation* s, const char* library) {
  void* memory = NULL;
  check(sublet_mpi_open(MPI_COMM_WORLD, 1, MPI_INFO_NULL, &s->workers), "leasing workers");
  check(sublet_mpi_lease(s->workers, &s->lease), "the lease");
  check(sublet_function_open(s->lease, library, "pair_correlation", NULL, &s->function),
        "finding the analysis");
  s->frame_bytes = sizeof *s->frame + 3 * sizeof(double) * (size_t)s->atoms;
  check(sublet_buffer_create(s->lease, s->frame_bytes, &memory, &s->buffer), "memory for a frame");
  s->frame = memory;
}

/* All ranks get all positions; each counts the pairs of a share of the atoms, by area of a
 * triangle. */
static void take_frame(struct simulation* s) {
  double low[3], high[3], xy, yz, xz;
  int periodic[3], changes;
  char x[] = "x";
  lammps_extract_box(s->lammps, low, high, &xy, &yz, &xz, periodic, &changes);
  lammps_gather_atoms(s->lammps, x, 1, 3, s->frame + 1);
  s->frame->box = high[0] - low[0];
  s->frame->reach = s->frame->box / 2;
  s->frame->atoms = s->atoms;
  /* Atom i has atoms - i partners: equal numbers of pairs, not of atoms. */
  int64_t edges[2];
  for (int edge = 0; edge < 2; ++edge) {
    const double left = 1 - (double)(s->rank + edge) / s->ranks;
    edges[edge] = (int64_t)((double)s->atoms * (1 - (left <= 0 ? 0 : sqrt(left))));
  }
  s->frame->first = edges[0];
  s->frame->last = s->rank == s->ranks - 1 ? s->atoms : edges[1];
}

static void finish_call(struct simulation* s) {
  if (!s->is_under_way) return;
  check(sublet_invocation_wait(s->call, NULL), "the analysis of a frame");
  s->is_under_way = 0;
}

static void analyse(struct simulation* s, enum way way) {
  if (way == kNone) return;
  finish_call(s); /* of the frame before: its memory is needed */
  take_frame(s);
  if (way == kInLine) {
    count_pairs(s->frame, (const double*)(s->frame + 1), &s->mine);
    return;
  }
  check(
      sublet_call_async(s->function, s->frame, s->frame_bytes, &s->mine, sizeof s->mine, &s->call),
      "handing out a frame");
  s->is_under_way = 1;
}

/* Seconds a step; the slowest rank's. */
static double run_block(struct simulation* s, enum way way) {
  char run[64];
  snprintf(run, sizeof run, "run %d pre no post no", kStepsAFrame);
  MPI_Barrier(MPI_COMM_WORLD);
  const double start = MPI_Wtime();
  for (int frame = 0; frame < kFramesABlock; ++frame) {
    command(s, run);
    analyse(s, way);
  }
  finish_call(s);
  double seconds = (MPI_Wtime() - start) / (kFramesABlock * kStepsAFrame);
  MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return seconds;
}

/* The last frame's, which is still in memory: the worker's counts are those of this rank, and those
 * of all ranks together are of each pair within reach once. */
static int is_right(struct simulation* s) {
  struct histogram here;
  count_pairs(s->frame, (const double*)(s->frame + 1), &here);
  int right = memcmp(&here, &s->mine, sizeof here) == 0;
  uint64_t pairs[2] = {0, 0};
  for (int b = 0; b < kBins; ++b) pairs[0] += s->mine.pairs[b];
  MPI_Allreduce(MPI_IN_PLACE, pairs, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
  struct frame whole = *s->frame;
  whole.first = 0;
  whole.last = s->atoms;
  count_pairs(&whole, (const double*)(s->frame + 1), &here);
  for (int b = 0; b < kBins; ++b) pairs[1] += here.pairs[b];
  right = right && pairs[0] == pairs[1] && pairs[0] > 0;
  MPI_Allreduce(MPI_IN_PLACE, &right, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
  return right;
}

static int number(const char* text, int least, int most) {
  char* end = NULL;
  const long value = strtol(text, &end, 10);
  return *text != '\0' && *end == '\0' && value >= least && value <= most ? (int)value : -1;
}

int main(int argc, char** argv) {
  const int cells = argc > 1 ? number(argv[1], 3, 60) : 10;
  const int frames = argc > 2 ? number(argv[2], 1, 1000000) : 300;
  if (cells < 0 || frames < 0 || argc > 3) {
    fprintf(stderr, "lammps_analysis: expected 3 to 60 cells on an edge, and a number of frames\n");
    return 2;
  }
  struct simulation s = {0};
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &s.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &s.ranks);
  begin(&s, cells);
  lease_worker(&s, LAMMPS_ANALYSIS_FUNCTIONS);
  double seconds[kWays] = {0, 0, 0};
  int right = 1;
  int blocks = 0;
  for (int done = 0; done < frames && right; done += kWays * kFramesABlock) {
    for (enum way way = kNone; way < kWays; ++way) {
      seconds[way] += run_block(&s, way);
      if (way == kOnWorkers) right = is_right(&s);
    }
    ++blocks;
  }
  if (s.rank == 0) {
    printf(
        "%lld atoms, ms a step: %.3f without analysis, %.3f with it in line, %.3f with it on "
        "workers (%.3f of without)\n",
        (long long)s.atoms, 1e3 * seconds[kNone] / blocks, 1e3 * seconds[kInLine] / blocks,
        1e3 * seconds[kOnWorkers] / blocks, seconds[kOnWorkers] / seconds[kNone]);
    puts(right ? "the workers' counts are right" : "WRONG");
  }
  sublet_invocation_free(&s.call);
  sublet_function_free(&s.function);
  sublet_buffer_free(&s.buffer);
  sublet_lease_free(&s.lease);
  sublet_mpi_free(&s.workers);
  lammps_close(s.lammps);
  MPI_Finalize();
  return right ? 0 : 1;
}
