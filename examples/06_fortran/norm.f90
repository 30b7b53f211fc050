! Sublet from Fortran: each rank leases a worker, gives it half of its vector, does the other half
! itself at the same time, and MPI adds up the ranks.
!
!   mpirun -n 2 fortran_offload [LIBRARY]
program norm
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: error_unit
  use mpi_f08
  use sublet_f08
  use sublet_mpi_f08
  implicit none
  integer, parameter :: elements = 200000, half = elements / 2  ! Of each rank.
  type(sublet_allocator) :: workers
  type(sublet_lease) :: lease
  type(sublet_function) :: sum_of_squares
  type(sublet_invocation) :: call
  type(sublet_buffer) :: buffer
  type(c_ptr) :: memory
  real(c_double), pointer :: values(:)
  real(c_double), asynchronous :: theirs
  real(c_double) :: ours, total, n, expected
  character(len=1024) :: library
  integer :: rank, ranks, i

  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks)
  ! What goes wrong is told here, instead of ending the job in MPI.
  call MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN)
  library = FORTRAN_OFFLOAD_FUNCTIONS
  if (command_argument_count() > 0) call get_command_argument(1, library)

  ! Collective. What goes wrong anywhere is an error everywhere.
  call need(sublet_mpi_open(MPI_COMM_WORLD%MPI_VAL, 1, MPI_INFO_NULL%MPI_VAL, workers))
  call need(sublet_mpi_lease(workers, lease))
  call need(sublet_function_open(lease, library, 'sum_of_squares', sum_of_squares))

  ! In the lease's memory: the worker reads it where it is.
  call need(sublet_buffer_create(lease, int(8 * elements, c_size_t), memory, buffer))
  call c_f_pointer(memory, values, [elements])
  values = [(real(rank, c_double) * elements + i - 1, i=1, elements)]

  call need(sublet_call_async(sum_of_squares, values, int(8 * half, c_size_t), theirs, &
                              c_sizeof(theirs), call))
  ours = sum(values(half + 1:)**2)
  call need(sublet_invocation_wait(call))
  call MPI_Allreduce(ours + theirs, total, 1, MPI_DOUBLE_PRECISION, MPI_SUM, MPI_COMM_WORLD)

  n = real(elements, c_double) * ranks
  expected = sqrt((n - 1) * n * (2 * n - 1) / 6)
  if (rank == 0) print '(i0, a, es12.6)', ranks, ' rank(s), norm ', sqrt(total)
  if (abs(sqrt(total) / expected - 1) > 1d-12) error stop 'the norm is wrong'

  call need(sublet_invocation_free(call))
  call need(sublet_buffer_free(buffer))
  call need(sublet_function_free(sum_of_squares))
  call need(sublet_lease_free(lease))
  call need(sublet_mpi_free(workers))
  call MPI_Finalize()

contains

  ! On this rank only: the others may be waiting for it.
  subroutine need(code)
    integer(c_int), intent(in) :: code
    if (code == sublet_success) return
    write (error_unit, '(a)') 'fortran_offload: '//sublet_last_error()
    call MPI_Abort(MPI_COMM_WORLD, 1)
  end subroutine
end program norm
