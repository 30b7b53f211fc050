! Options, sessions, leases and buffers: the part of sublet_f08 off the path of a call.
module sublet_lease_f08
  use, intrinsic :: iso_c_binding
  use sublet_types_f08
  use sublet_c_f08
  use sublet_codes_f08
  use sublet_text_f08
  implicit none
  private
  public :: sublet_options_set, sublet_options_free, sublet_session_open, &
    sublet_session_manager, sublet_session_write_trace, sublet_session_free, sublet_lease_open, &
    sublet_lease_id, sublet_lease_workers, sublet_lease_worker, sublet_lease_expires_at, &
    sublet_lease_extend, sublet_lease_usage, sublet_lease_progress, sublet_lease_wait_all, &
    sublet_lease_on_ending, sublet_lease_on_lost, sublet_lease_release, sublet_lease_free, &
    sublet_buffer_create, sublet_buffer_free

contains

  ! ---- Options: made by the first set ----

  function sublet_options_set(options, name, val) result(code)
    type(sublet_options), intent(inout) :: options
    character(len=*), intent(in) :: name, val
    integer(c_int) :: code
    code = sublet_success
    if (.not. c_associated(options%handle)) code = c_options_create(options%handle)
    if (code == sublet_success) code = c_options_set(options%handle, to_c(name), to_c(val))
  end function

  function sublet_options_free(options) result(code)
    type(sublet_options), intent(inout) :: options
    integer(c_int) :: code
    code = c_options_free(options%handle)
  end function

  ! ---- Session ----

  function sublet_session_open(session, options) result(code)
    type(sublet_session), intent(inout) :: session
    type(sublet_options), intent(in), optional :: options
    integer(c_int) :: code
    code = c_session_open(handle_of(options), session%handle)
  end function

  function sublet_session_manager(session, address) result(code)
    type(sublet_session), intent(in) :: session
    character(len=:), allocatable, intent(out) :: address
    integer(c_int) :: code
    character(kind=c_char) :: text(1024)
    integer(c_size_t) :: length
    integer :: i
    length = 0
    code = c_session_manager(session%handle, text, size(text, kind=c_size_t), length)
    allocate (character(len=min(length, size(text) - 1_c_size_t)) :: address)
    do i = 1, len(address)
      address(i:i) = text(i)
    end do
  end function

  function sublet_session_write_trace(session, path) result(code)
    type(sublet_session), intent(in) :: session
    character(len=*), intent(in) :: path
    integer(c_int) :: code
    code = c_session_write_trace(session%handle, to_c(path))
  end function

  function sublet_session_free(session) result(code)
    type(sublet_session), intent(inout) :: session
    integer(c_int) :: code
    code = c_session_free(session%handle)
  end function

  ! ---- Lease ----

  function sublet_lease_open(session, cores, lease, options) result(code)
    type(sublet_session), intent(in) :: session
    integer(c_int), intent(in) :: cores
    type(sublet_lease), intent(inout) :: lease
    type(sublet_options), intent(in), optional :: options
    integer(c_int) :: code
    code = c_lease_open(session%handle, cores, handle_of(options), lease%handle)
  end function

  function sublet_lease_id(lease, id) result(code)
    type(sublet_lease), intent(in) :: lease
    integer(c_int64_t), intent(inout) :: id
    integer(c_int) :: code
    code = c_lease_id(lease%handle, id)
  end function

  function sublet_lease_workers(lease, workers) result(code)
    type(sublet_lease), intent(in) :: lease
    integer(c_size_t), intent(inout) :: workers
    integer(c_int) :: code
    code = c_lease_workers(lease%handle, workers)
  end function

  ! Workers count from 0, as in sublet_reply.
  function sublet_lease_worker(lease, index, worker) result(code)
    type(sublet_lease), intent(in) :: lease
    integer(c_size_t), intent(in) :: index
    type(sublet_worker_info), intent(inout) :: worker
    integer(c_int) :: code
    code = c_lease_worker(lease%handle, index, worker)
  end function

  function sublet_lease_expires_at(lease, unix_ms) result(code)
    type(sublet_lease), intent(in) :: lease
    integer(c_int64_t), intent(inout) :: unix_ms
    integer(c_int) :: code
    code = c_lease_expires_at(lease%handle, unix_ms)
  end function

  function sublet_lease_extend(lease, duration_s) result(code)
    type(sublet_lease), intent(in) :: lease
    integer(c_int64_t), intent(in) :: duration_s
    integer(c_int) :: code
    code = c_lease_extend(lease%handle, duration_s)
  end function

  function sublet_lease_usage(lease, usage) result(code)
    type(sublet_lease), intent(in) :: lease
    type(sublet_usage), intent(inout) :: usage
    integer(c_int) :: code
    code = c_lease_usage(lease%handle, usage)
  end function

  function sublet_lease_progress(lease) result(code)
    type(sublet_lease), intent(in) :: lease
    integer(c_int) :: code
    code = c_lease_progress(lease%handle)
  end function

  function sublet_lease_wait_all(lease, limit_ns) result(code)
    type(sublet_lease), intent(in) :: lease
    integer(c_int64_t), intent(in) :: limit_ns
    integer(c_int) :: code
    code = c_lease_wait_all(lease%handle, limit_ns)
  end function

  function sublet_lease_on_ending(lease, callback, context) result(code)
    type(sublet_lease), intent(in) :: lease
    procedure(sublet_ending_callback) :: callback
    type(c_ptr), intent(in) :: context
    integer(c_int) :: code
    code = c_lease_on_ending(lease%handle, c_funloc(callback), context)
  end function

  function sublet_lease_on_lost(lease, callback, context) result(code)
    type(sublet_lease), intent(in) :: lease
    procedure(sublet_lost_callback) :: callback
    type(c_ptr), intent(in) :: context
    integer(c_int) :: code
    code = c_lease_on_lost(lease%handle, c_funloc(callback), context)
  end function

  function sublet_lease_release(lease) result(code)
    type(sublet_lease), intent(in) :: lease
    integer(c_int) :: code
    code = c_lease_release(lease%handle)
  end function

  function sublet_lease_free(lease) result(code)
    type(sublet_lease), intent(inout) :: lease
    integer(c_int) :: code
    code = c_lease_free(lease%handle)
  end function

  ! `data` becomes the address; c_f_pointer makes an array of it.
  function sublet_buffer_create(lease, size, data, buffer) result(code)
    type(sublet_lease), intent(in) :: lease
    integer(c_size_t), intent(in) :: size
    type(c_ptr), intent(inout) :: data
    type(sublet_buffer), intent(inout) :: buffer
    integer(c_int) :: code
    code = c_buffer_create(lease%handle, size, data, buffer%handle)
  end function

  function sublet_buffer_free(buffer) result(code)
    type(sublet_buffer), intent(inout) :: buffer
    integer(c_int) :: code
    code = c_buffer_free(buffer%handle)
  end function
end module sublet_lease_f08
