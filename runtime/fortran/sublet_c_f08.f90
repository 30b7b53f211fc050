! The functions of <sublet.h> as they are. Programs use sublet_f08, whose functions take Fortran's
! strings and handles.
module sublet_c_f08
  use, intrinsic :: iso_c_binding
  use sublet_types_f08
  implicit none
  public

  interface
    pure function c_error_string(code) bind(c, name='sublet_error_string')
      import
      integer(c_int), value :: code
      type(c_ptr) :: c_error_string
    end function
    function c_last_error() bind(c, name='sublet_last_error')
      import
      type(c_ptr) :: c_last_error
    end function
    function c_options_create(options) bind(c, name='sublet_options_create')
      import
      type(c_ptr), intent(inout) :: options
      integer(c_int) :: c_options_create
    end function
    function c_options_set(options, name, val) bind(c, name='sublet_options_set')
      import
      type(c_ptr), value :: options
      character(kind=c_char), intent(in) :: name(*), val(*)
      integer(c_int) :: c_options_set
    end function
    function c_options_free(options) bind(c, name='sublet_options_free')
      import
      type(c_ptr), intent(inout) :: options
      integer(c_int) :: c_options_free
    end function
    function c_session_open(options, session) bind(c, name='sublet_session_open')
      import
      type(c_ptr), value :: options
      type(c_ptr), intent(inout) :: session
      integer(c_int) :: c_session_open
    end function
    function c_session_manager(session, text, capacity, length) &
        bind(c, name='sublet_session_manager')
      import
      type(c_ptr), value :: session
      character(kind=c_char), intent(inout) :: text(*)
      integer(c_size_t), value :: capacity
      integer(c_size_t), intent(out) :: length
      integer(c_int) :: c_session_manager
    end function
    function c_session_write_trace(session, path) bind(c, name='sublet_session_write_trace')
      import
      type(c_ptr), value :: session
      character(kind=c_char), intent(in) :: path(*)
      integer(c_int) :: c_session_write_trace
    end function
    function c_session_free(session) bind(c, name='sublet_session_free')
      import
      type(c_ptr), intent(inout) :: session
      integer(c_int) :: c_session_free
    end function
    function c_lease_open(session, cores, options, lease) bind(c, name='sublet_lease_open')
      import
      type(c_ptr), value :: session
      integer(c_int), value :: cores
      type(c_ptr), value :: options
      type(c_ptr), intent(inout) :: lease
      integer(c_int) :: c_lease_open
    end function
    function c_lease_id(lease, id) bind(c, name='sublet_lease_id')
      import
      type(c_ptr), value :: lease
      integer(c_int64_t), intent(inout) :: id
      integer(c_int) :: c_lease_id
    end function
    function c_lease_workers(lease, workers) bind(c, name='sublet_lease_workers')
      import
      type(c_ptr), value :: lease
      integer(c_size_t), intent(inout) :: workers
      integer(c_int) :: c_lease_workers
    end function
    function c_lease_expires_at(lease, unix_ms) bind(c, name='sublet_lease_expires_at')
      import
      type(c_ptr), value :: lease
      integer(c_int64_t), intent(inout) :: unix_ms
      integer(c_int) :: c_lease_expires_at
    end function
    function c_lease_extend(lease, duration_s) bind(c, name='sublet_lease_extend')
      import
      type(c_ptr), value :: lease
      integer(c_int64_t), value :: duration_s
      integer(c_int) :: c_lease_extend
    end function
    function c_lease_progress(lease) bind(c, name='sublet_lease_progress')
      import
      type(c_ptr), value :: lease
      integer(c_int) :: c_lease_progress
    end function
    function c_lease_wait_all(lease, limit_ns) bind(c, name='sublet_lease_wait_all')
      import
      type(c_ptr), value :: lease
      integer(c_int64_t), value :: limit_ns
      integer(c_int) :: c_lease_wait_all
    end function
    function c_lease_on_ending(lease, callback, context) bind(c, name='sublet_lease_on_ending')
      import
      type(c_ptr), value :: lease
      type(c_funptr), value :: callback
      type(c_ptr), value :: context
      integer(c_int) :: c_lease_on_ending
    end function
    function c_lease_on_lost(lease, callback, context) bind(c, name='sublet_lease_on_lost')
      import
      type(c_ptr), value :: lease
      type(c_funptr), value :: callback
      type(c_ptr), value :: context
      integer(c_int) :: c_lease_on_lost
    end function
    function c_lease_release(lease) bind(c, name='sublet_lease_release')
      import
      type(c_ptr), value :: lease
      integer(c_int) :: c_lease_release
    end function
    function c_lease_free(lease) bind(c, name='sublet_lease_free')
      import
      type(c_ptr), intent(inout) :: lease
      integer(c_int) :: c_lease_free
    end function
    function c_buffer_create(lease, size, data, buffer) bind(c, name='sublet_buffer_create')
      import
      type(c_ptr), value :: lease
      integer(c_size_t), value :: size
      type(c_ptr), intent(inout) :: data, buffer
      integer(c_int) :: c_buffer_create
    end function
    function c_buffer_free(buffer) bind(c, name='sublet_buffer_free')
      import
      type(c_ptr), intent(inout) :: buffer
      integer(c_int) :: c_buffer_free
    end function
    function c_function_open(lease, path, name, options, func) &
        bind(c, name='sublet_function_open')
      import
      type(c_ptr), value :: lease
      character(kind=c_char), intent(in) :: path(*), name(*)
      type(c_ptr), value :: options
      type(c_ptr), intent(inout) :: func
      integer(c_int) :: c_function_open
    end function
    function c_function_free(func) bind(c, name='sublet_function_free')
      import
      type(c_ptr), intent(inout) :: func
      integer(c_int) :: c_function_free
    end function
    function c_invocation_poll(invocation, ended) bind(c, name='sublet_invocation_poll')
      import
      type(c_ptr), value :: invocation
      integer(c_int), intent(inout) :: ended
      integer(c_int) :: c_invocation_poll
    end function
    function c_invocation_then(invocation, then, context) &
        bind(c, name='sublet_invocation_then')
      import
      type(c_ptr), intent(inout) :: invocation
      type(c_funptr), value :: then
      type(c_ptr), value :: context
      integer(c_int) :: c_invocation_then
    end function
    function c_invocation_free(invocation) bind(c, name='sublet_invocation_free')
      import
      type(c_ptr), intent(inout) :: invocation
      integer(c_int) :: c_invocation_free
    end function
    pure function c_strlen(text) bind(c, name='strlen')
      import
      type(c_ptr), value :: text
      integer(c_size_t) :: c_strlen
    end function
    function c_call(func, input, input_size, output, output_capacity, reply) &
        bind(c, name='sublet_call')
      import
      !GCC$ ATTRIBUTES NO_ARG_CHECK :: input, output
      type(c_ptr), value :: func
      type(*), dimension(*), intent(in) :: input
      integer(c_size_t), value :: input_size, output_capacity
      type(*), dimension(*) :: output
      type(sublet_reply), intent(inout), optional :: reply
      integer(c_int) :: c_call
    end function
    function c_call_async(func, input, input_size, output, output_capacity, invocation) &
        bind(c, name='sublet_call_async')
      import
      !GCC$ ATTRIBUTES NO_ARG_CHECK :: input, output
      type(c_ptr), value :: func
      type(*), dimension(*), intent(in), asynchronous :: input
      integer(c_size_t), value :: input_size, output_capacity
      type(*), dimension(*), asynchronous :: output
      type(c_ptr), intent(inout) :: invocation
      integer(c_int) :: c_call_async
    end function
    function c_call_try(func, worker, input, input_size, output, output_capacity, invocation) &
        bind(c, name='sublet_call_try')
      import
      !GCC$ ATTRIBUTES NO_ARG_CHECK :: input, output
      type(c_ptr), value :: func
      type(*), dimension(*), intent(in), asynchronous :: input
      integer(c_size_t), value :: worker, input_size, output_capacity
      type(*), dimension(*), asynchronous :: output
      type(c_ptr), intent(inout) :: invocation
      integer(c_int) :: c_call_try
    end function
    function c_invocation_wait(invocation, reply) bind(c, name='sublet_invocation_wait')
      import
      type(c_ptr), value :: invocation
      type(sublet_reply), intent(inout), optional :: reply
      integer(c_int) :: c_invocation_wait
    end function
    function c_invocation_wait_for(invocation, limit_ns, reply) &
        bind(c, name='sublet_invocation_wait_for')
      import
      type(c_ptr), value :: invocation
      integer(c_int64_t), value :: limit_ns
      type(sublet_reply), intent(inout), optional :: reply
      integer(c_int) :: c_invocation_wait_for
    end function
    function c_batch(func, items, count, limit_ns, failed) bind(c, name='sublet_batch')
      import
      type(c_ptr), value :: func
      type(sublet_item), intent(inout) :: items(*)
      integer(c_size_t), value :: count
      integer(c_int64_t), value :: limit_ns
      integer(c_size_t), intent(inout), optional :: failed
      integer(c_int) :: c_batch
    end function
    function c_offload_for(func, loop, report) bind(c, name='sublet_offload_for')
      import
      type(c_ptr), value :: func
      type(sublet_loop), intent(in) :: loop
      type(sublet_loop_report), intent(inout), optional :: report
      integer(c_int) :: c_offload_for
    end function
    function c_lease_usage(lease, usage) bind(c, name='sublet_lease_usage')
      import
      type(c_ptr), value :: lease
      type(sublet_usage), intent(inout) :: usage
      integer(c_int) :: c_lease_usage
    end function
    function c_lease_worker(lease, index, worker) bind(c, name='sublet_lease_worker')
      import
      type(c_ptr), value :: lease
      integer(c_size_t), value :: index
      type(sublet_worker_info), intent(inout) :: worker
      integer(c_int) :: c_lease_worker
    end function
  end interface
end module sublet_c_f08
