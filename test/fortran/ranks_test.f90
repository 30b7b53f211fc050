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
  type(sublet_invocation) :: invocation
  type(sublet_reply), target :: reply
  integer :: rank, ranks, ierror, hints, comm, looks, request
  real(c_double), target :: x, y

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
  y = 0
  call check_ok(sublet_call_async(add_one, x, c_sizeof(x), y, c_sizeof(y), invocation), 'a call begins')
  call check_ok(sublet_mpi_request(invocation, reply, request), 'it becomes a request')
  call MPI_Wait(request, MPI_STATUS_IGNORE, ierror)
  call check(ierror == MPI_SUCCESS .and. reply%code == sublet_success, 'MPI_Wait waits for it')
  call check(y == x + 1, 'with its result')
  call check_error(sublet_err_handle, sublet_mpi_request(invocation, reply, request), 'once only')
  call check_ok(sublet_invocation_free(invocation), 'free')
  y = 0
  call check_ok(sublet_call(add_one, x, c_sizeof(x), y, c_sizeof(y)), 'a call')
  call check(y == rank + 1, 'the result is this rank''s')
  ! A worker counts a call after it has answered.
  do looks = 1, 1000
    call check_ok(sublet_mpi_usage(workers, usage), 'the usage')
    if (usage%invocations == 2 * ranks) exit
  end do
  call check(usage%invocations == 2 * ranks, 'the calls of all ranks are counted')
  call check_ok(sublet_mpi_write_trace(workers, '/dev/null'), 'a timeline')

  call check_datatypes()
  call check_waitall()

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

  ! A row of a matrix, whose elements do not lie one after the other.
  ! A call, a message to oneself, and a request that is a call, at once.
  subroutine check_waitall()
    integer, parameter :: calls = 3
    type(sublet_invocation) :: started(calls), other, none(0)
    type(sublet_reply) :: replies(calls), of_other
    real(c_double), asynchronous :: in(calls), out(calls), sent, got, last
    integer :: requests(3), statuses(MPI_STATUS_SIZE, 3), k, bytes, ierr
    in = [1, 2, 3]
    out = 0
    sent = 7
    got = 0
    do k = 1, calls - 1  ! the last handle stays null
      call check_ok(sublet_call_async(add_one, in(k), 8_c_size_t, out(k), 8_c_size_t, started(k)), 'a call begins')
    end do
    call check_ok(sublet_call_async(add_one, sent, 8_c_size_t, last, 8_c_size_t, other), 'a call begins')
    call check_ok(sublet_mpi_request(other, of_other, requests(1)), 'it becomes a request')
    call MPI_Irecv(got, 1, MPI_DOUBLE_PRECISION, 0, 5, MPI_COMM_SELF, requests(2), ierr)
    call MPI_Isend(sent, 1, MPI_DOUBLE_PRECISION, 0, 5, MPI_COMM_SELF, requests(3), ierr)
    call check_ok(sublet_waitall(started, requests, replies, statuses), 'all are waited for')
    call check(all(requests == MPI_REQUEST_NULL), 'the requests are complete')
    call check(all(out(:2) == [2, 3]) .and. got == 7 .and. last == 8, 'with their results')
    call check(all(replies(:2)%code == sublet_success) .and. replies(1)%size == 8, 'with their replies')
    call MPI_Get_elements(statuses(:, 2), MPI_BYTE, bytes, ierr)
    call check(bytes == 8 .and. statuses(MPI_TAG, 2) == 5, 'with the message''s status')
    call check_ok(sublet_waitall(none, requests), 'nothing is waited for')
    call check_ok(sublet_call_async(add_one, in(1), 8_c_size_t, out(1), 4_c_size_t, started(1)), 'a bad call begins')
    call check(sublet_waitall(started, requests, replies) /= MPI_SUCCESS, 'a bad call is an error')
    call check(replies(1)%code /= sublet_success, 'of which the reply tells')
    call check(len(sublet_mpi_request_path()) > 0, 'requests have a path')
    do k = 1, calls
      call check_ok(sublet_invocation_free(started(k)), 'free')
    end do
    call check_ok(sublet_invocation_free(other), 'free')
  end subroutine

  subroutine check_datatypes()
    type(sublet_function) :: add_one_each
    type(sublet_mpi_persistent) :: again
    type(sublet_lease) :: first
    real(c_double), asynchronous :: matrix(3, 4)
    real(c_double) :: one(1)
    integer :: row, step
    call check_ok(sublet_mpi_thread_lease(workers, 0, first), 'the lease of thread 0')
    call check_ok(sublet_function_open(first, FORTRAN_FUNCTIONS, 'add_one', add_one_each), 'open')
    call MPI_Type_vector(4, 1, 3, MPI_DOUBLE_PRECISION, row, ierror)
    call MPI_Type_commit(row, ierror)
    call check_ok(sublet_mpi_call_init(workers, add_one_each, matrix, 1_c_int64_t, row, &
                                       matrix(2, 1), 1_c_int64_t, row, again), 'a persistent call')
    call MPI_Type_free(row, ierror)
    do step = 1, 3
      matrix = -1
      matrix(1, :) = step
      call check_ok(sublet_mpi_start(again), 'start')
      call check_ok(sublet_mpi_wait(again), 'wait')
      call check(all(matrix(2, :) == step + 1), 'the row has one more')
      call check(all(matrix(3, :) == -1), 'the others stay')
    end do
    call check_ok(sublet_mpi_call_free(again), 'free')
    call check_ok(sublet_mpi_call(workers, add_one_each, [41.0_c_double], 1_c_int64_t, &
                                  MPI_DOUBLE_PRECISION, one, 1_c_int64_t, MPI_DOUBLE_PRECISION), &
                  'a call')
    call check(one(1) == 42, 'the value has one more')
    call check_error(sublet_err_type, &
                     sublet_mpi_call(workers, add_one_each, one, 1_c_int64_t, MPI_DATATYPE_NULL, &
                                     one, 1_c_int64_t, MPI_DOUBLE_PRECISION), 'no type')
    call check_ok(sublet_function_free(add_one_each), 'free')
    call check_ok(sublet_lease_free(first), 'free')
  end subroutine

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
