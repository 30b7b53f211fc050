! The Fortran modules on any number of ranks: leases, calls, bad arguments, and the end of MPI.
program ranks_test
  use, intrinsic :: iso_c_binding
  use checks
  use mpi
  use sublet_f08
  use sublet_mpi_f08
  implicit none
  type(sublet_allocator) :: workers
  type(sublet_lease) :: lease
  type(sublet_function) :: add_one
  type(sublet_usage) :: usage
  integer :: rank, ranks, ierror, hints, comm, looks
  real(c_double) :: x, y

  call check_code(sublet_err_not_initialized, &
                  sublet_mpi_open(MPI_COMM_WORLD, 1, MPI_INFO_NULL, workers), 'before MPI_Init')
  call MPI_Init(ierror)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierror)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierror)
  call MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN, ierror)
  call MPI_Info_create(hints, ierror)
  call MPI_Info_set(hints, 'sublet_private_oversubscribe', '32', ierror)
  call MPI_Info_set(hints, 'sublet_arena_bytes', '16777216', ierror)
  call MPI_Info_set(hints, 'sublet_memory_bytes', '16777216', ierror)

  call check_error(sublet_err_comm, sublet_mpi_open(MPI_COMM_NULL, 1, hints, workers), 'no comm')
  call check_error(sublet_err_count, sublet_mpi_open(MPI_COMM_WORLD, -1, hints, workers), '-1')
  call check_error(sublet_err_handle, sublet_mpi_usage(workers, usage), 'null')
  call check_error(sublet_err_handle, sublet_mpi_lease(workers, lease), 'null')

  call MPI_Comm_dup(MPI_COMM_WORLD, comm, ierror)
  call check_ok(sublet_mpi_open(comm, 1, hints, workers), 'workers on a duplicate')
  call MPI_Comm_free(comm, ierror)
  call check_error(sublet_err_comm_freed, sublet_mpi_usage(workers, usage), 'freed')
  call check_ok(sublet_mpi_free(workers), 'free')

  call check_ok(sublet_mpi_open(MPI_COMM_WORLD, 1, hints, workers), 'workers')
  call check_ok(sublet_mpi_lease(workers, lease), 'a lease')
  call check_ok(sublet_function_open(lease, FORTRAN_FUNCTIONS, 'add_one', add_one), 'a function')
  x = rank
  y = 0
  call check_ok(sublet_call(add_one, x, c_sizeof(x), y, c_sizeof(y)), 'a call')
  call check(y == rank + 1, 'the result is this rank''s')
  ! A worker counts a call after it has answered.
  do looks = 1, 1000
    call check_ok(sublet_mpi_usage(workers, usage), 'the usage')
    if (usage%invocations == ranks) exit
  end do
  call check(usage%invocations == ranks, 'the calls of all ranks are counted')
  call check_ok(sublet_mpi_write_trace(workers, '/dev/null'), 'a timeline')

  call MPI_Info_free(hints, ierror)
  call MPI_Finalize(ierror)
  call check_code(sublet_err_closed, sublet_call(add_one, x, 8_c_size_t, y, 8_c_size_t), 'closed')
  call check_code(sublet_err_finalized, sublet_mpi_usage(workers, usage), 'after MPI_Finalize')
  call check_code(sublet_err_finalized, &
                  sublet_mpi_open(MPI_COMM_WORLD, 1, MPI_INFO_NULL, workers), 'after MPI_Finalize')
  call check_ok(sublet_function_free(add_one), 'free')
  call check_ok(sublet_lease_free(lease), 'free')
  call check_ok(sublet_mpi_free(workers), 'free')
  if (failures > 0) stop 1

contains

  ! `error` is a class of MPI's that stands for `expected`.
  subroutine check_error(expected, error, what)
    integer(c_int), intent(in) :: expected, error
    character(len=*), intent(in) :: what
    character(len=MPI_MAX_ERROR_STRING) :: text
    integer :: length
    call check_code(expected, sublet_mpi_code(error), what)
    call check(error > 0, what//' is an error of MPI''s')
    call MPI_Error_string(error, text, length, ierror)
    call check(index(text, sublet_error_string(expected)) > 0, 'MPI explains '//what)
  end subroutine
end program ranks_test
