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
    function c_request(invocation, reply, request) bind(c, name='sublet_mpi_request_fint')
      import
      type(c_ptr), value :: invocation
      type(sublet_reply), intent(inout) :: reply
      integer(c_int), intent(inout) :: request
      integer(c_int) :: c_request
    end function
    function c_waitall(calls, invocations, replies, requests, mpi_requests, statuses) &
        bind(c, name='sublet_waitall_fint')
      import
      integer(c_int), value :: calls, requests
      type(c_ptr), intent(in) :: invocations(*)
      type(sublet_reply), intent(inout), optional :: replies(*)
      integer(c_int), intent(inout) :: mpi_requests(*)
      integer(c_int), intent(inout), optional :: statuses(*)
      integer(c_int) :: c_waitall
    end function
    function c_error_class(code, error_class) bind(c, name='sublet_mpi_error_class')
      import
      integer(c_int), value :: code
      integer(c_int), intent(inout) :: error_class
      integer(c_int) :: c_error_class
    end function
    function c_request_path() bind(c, name='sublet_mpi_request_path')
      import
      type(c_ptr) :: c_request_path
    end function
    function c_length(text) bind(c, name='strlen')
      import
      type(c_ptr), value :: text
      integer(c_size_t) :: c_length
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
    sublet_mpi_free, sublet_mpi_request, sublet_waitall, sublet_mpi_request_path, &
    sublet_mpi_error_class, sublet_mpi_code
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

  ! The reply is written when the call ends, so that it must stay until then: give it `target` or
  ! `asynchronous`, as what the call reads and writes.
  function sublet_mpi_request(invocation, reply, request) result(error)
    type(sublet_invocation), intent(in) :: invocation
    type(sublet_reply), intent(inout), target :: reply
    integer(c_int), intent(inout) :: request
    integer(c_int) :: error
    error = c_request(invocation%handle, reply, request)
  end function

  ! Waits for calls and requests at once. Handles that are null are passed over. `replies` has one for
  ! each invocation, `statuses` MPI_STATUS_SIZE integers for each request, one column each.
  function sublet_waitall(invocations, requests, replies, statuses) result(error)
    type(sublet_invocation), intent(in) :: invocations(:)
    integer(c_int), intent(inout), contiguous :: requests(:)
    type(sublet_reply), intent(inout), contiguous, optional :: replies(:)
    integer(c_int), intent(inout), contiguous, optional :: statuses(:, :)
    integer(c_int) :: error
    type(c_ptr) :: handles(size(invocations))
    integer :: i
    do i = 1, size(invocations)
      handles(i) = invocations(i)%handle
    end do
    error = c_waitall(int(size(handles), c_int), handles, replies, int(size(requests), c_int), &
                      requests, statuses)
  end function

  ! How requests let MPI know: "progress", "poll", "helper", "none" or "unknown".
  function sublet_mpi_request_path() result(path)
    character(len=:), allocatable :: path
    character(kind=c_char), pointer :: letters(:)
    type(c_ptr) :: text
    integer :: i
    text = c_request_path()
    call c_f_pointer(text, letters, [c_length(text)])
    allocate (character(len=size(letters)) :: path)
    do i = 1, size(letters)
      path(i:i) = letters(i)
    end do
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
