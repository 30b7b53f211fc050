! The functions of <sublet_mpi.h> as they are, for the module below.
module sublet_mpi_c_f08
  use, intrinsic :: iso_c_binding
  use sublet_f08
  implicit none
  public

  interface
    function c_open(comm, workers_per_rank, hints, allocator) bind(c, name='sublet_mpi_open_fint')
      import
      integer(c_int), value :: comm, workers_per_rank, hints
      type(c_ptr), intent(inout) :: allocator
      integer(c_int) :: c_open
    end function
    function c_lease(allocator, lease) bind(c, name='sublet_mpi_lease')
      import
      type(c_ptr), value :: allocator
      type(c_ptr), intent(inout) :: lease
      integer(c_int) :: c_lease
    end function
    function c_thread_lease(allocator, thread, lease) bind(c, name='sublet_mpi_thread_lease')
      import
      type(c_ptr), value :: allocator
      integer(c_int), value :: thread
      type(c_ptr), intent(inout) :: lease
      integer(c_int) :: c_thread_lease
    end function
    function c_session(allocator, session) bind(c, name='sublet_mpi_session')
      import
      type(c_ptr), value :: allocator
      type(c_ptr), intent(inout) :: session
      integer(c_int) :: c_session
    end function
    function c_usage(allocator, usage) bind(c, name='sublet_mpi_usage')
      import
      type(c_ptr), value :: allocator
      type(sublet_usage), intent(inout) :: usage
      integer(c_int) :: c_usage
    end function
    function c_write_trace(allocator, path) bind(c, name='sublet_mpi_write_trace')
      import
      type(c_ptr), value :: allocator
      character(kind=c_char), intent(in) :: path(*)
      integer(c_int) :: c_write_trace
    end function
    function c_release(allocator) bind(c, name='sublet_mpi_release')
      import
      type(c_ptr), value :: allocator
      integer(c_int) :: c_release
    end function
    function c_free(allocator) bind(c, name='sublet_mpi_free')
      import
      type(c_ptr), intent(inout) :: allocator
      integer(c_int) :: c_free
    end function
    function c_error_class(code, error_class) bind(c, name='sublet_mpi_error_class')
      import
      integer(c_int), value :: code
      integer(c_int), intent(inout) :: error_class
      integer(c_int) :: c_error_class
    end function
    function c_code(error) bind(c, name='sublet_mpi_code')
      import
      integer(c_int), value :: error
      integer(c_int) :: c_code
    end function
  end interface
end module sublet_mpi_c_f08

! Sublet for MPI programs in Fortran: the calls of <sublet_mpi.h>, which describes them, on top of
! module sublet_f08. Communicators and infos are integers, as in `use mpi`; of mpi_f08's handles pass
! the component MPI_VAL.
!
! Functions return MPI_SUCCESS (0) or an error class of MPI, for which the communicator's error handler
! has been called; sublet_mpi_code() gives the code sublet_err_... that it stands for. Collective, and
! which threads may call them: as in <sublet_mpi.h>.
module sublet_mpi_f08
  use, intrinsic :: iso_c_binding
  use sublet_f08
  use sublet_mpi_c_f08
  use sublet_mpi_call_f08
  implicit none
  private
  public :: sublet_allocator, sublet_mpi_open, sublet_mpi_lease, sublet_mpi_thread_lease, &
    sublet_mpi_session, sublet_mpi_usage, sublet_mpi_write_trace, sublet_mpi_release, &
    sublet_mpi_free, sublet_mpi_error_class, sublet_mpi_code
  public :: sublet_mpi_persistent, sublet_mpi_call, sublet_mpi_call_init, sublet_mpi_start, &
    sublet_mpi_test, sublet_mpi_wait, sublet_mpi_wait_for, sublet_mpi_call_free

contains

  function sublet_mpi_open(comm, workers_per_rank, hints, allocator) result(error)
    integer(c_int), intent(in) :: comm, workers_per_rank, hints
    type(sublet_allocator), intent(inout) :: allocator
    integer(c_int) :: error
    error = c_open(comm, workers_per_rank, hints, allocator%handle)
  end function

  function sublet_mpi_lease(allocator, lease) result(error)
    type(sublet_allocator), intent(in) :: allocator
    type(sublet_lease), intent(inout) :: lease
    integer(c_int) :: error
    error = c_lease(allocator%handle, lease%handle)
  end function

  ! Threads count from 0.
  function sublet_mpi_thread_lease(allocator, thread, lease) result(error)
    type(sublet_allocator), intent(in) :: allocator
    integer(c_int), intent(in) :: thread
    type(sublet_lease), intent(inout) :: lease
    integer(c_int) :: error
    error = c_thread_lease(allocator%handle, thread, lease%handle)
  end function

  function sublet_mpi_session(allocator, session) result(error)
    type(sublet_allocator), intent(in) :: allocator
    type(sublet_session), intent(inout) :: session
    integer(c_int) :: error
    error = c_session(allocator%handle, session%handle)
  end function

  function sublet_mpi_usage(allocator, usage) result(error)
    type(sublet_allocator), intent(in) :: allocator
    type(sublet_usage), intent(inout) :: usage
    integer(c_int) :: error
    error = c_usage(allocator%handle, usage)
  end function

  function sublet_mpi_write_trace(allocator, path) result(error)
    type(sublet_allocator), intent(in) :: allocator
    character(len=*), intent(in) :: path
    integer(c_int) :: error
    error = c_write_trace(allocator%handle, trim(path)//c_null_char)
  end function

  function sublet_mpi_release(allocator) result(error)
    type(sublet_allocator), intent(in) :: allocator
    integer(c_int) :: error
    error = c_release(allocator%handle)
  end function

  function sublet_mpi_free(allocator) result(error)
    type(sublet_allocator), intent(inout) :: allocator
    integer(c_int) :: error
    error = c_free(allocator%handle)
  end function

  function sublet_mpi_error_class(code, error_class) result(error)
    integer(c_int), intent(in) :: code
    integer(c_int), intent(inout) :: error_class
    integer(c_int) :: error
    error = c_error_class(code, error_class)
  end function

  function sublet_mpi_code(error) result(code)
    integer(c_int), intent(in) :: error
    integer(c_int) :: code
    code = c_code(error)
  end function
end module sublet_mpi_f08
