! Functions and calls: the part of sublet_f08 that a call takes.
module sublet_call_f08
  use, intrinsic :: iso_c_binding
  use sublet_types_f08
  use sublet_c_f08
  use sublet_codes_f08
  use sublet_text_f08
  implicit none
  private
  public :: sublet_function_open, sublet_function_free, sublet_call, sublet_call_async, &
    sublet_call_try, sublet_invocation_poll, sublet_invocation_wait, &
    sublet_invocation_wait_for, sublet_invocation_then, sublet_invocation_free, sublet_batch, &
    sublet_offload_for

contains

  ! ---- Functions and calls ----

  function sublet_function_open(lease, path, name, func, options) result(code)
    type(sublet_lease), intent(in) :: lease
    character(len=*), intent(in) :: path, name
    type(sublet_function), intent(inout) :: func
    type(sublet_options), intent(in), optional :: options
    integer(c_int) :: code
    code = c_function_open(lease%handle, to_c(path), to_c(name), handle_of(options), func%handle)
  end function

  function sublet_function_free(func) result(code)
    type(sublet_function), intent(inout) :: func
    integer(c_int) :: code
    code = c_function_free(func%handle)
  end function

  function sublet_call(func, input, input_size, output, output_capacity, reply) result(code)
    !GCC$ ATTRIBUTES NO_ARG_CHECK :: input, output
    type(sublet_function), intent(in) :: func
    type(*), dimension(*), intent(in) :: input
    integer(c_size_t), intent(in) :: input_size, output_capacity
    type(*), dimension(*) :: output
    type(sublet_reply), intent(inout), optional :: reply
    integer(c_int) :: code
    code = c_call(func%handle, input, input_size, output, output_capacity, reply)
  end function

  function sublet_call_async(func, input, input_size, output, output_capacity, invocation) &
      result(code)
    !GCC$ ATTRIBUTES NO_ARG_CHECK :: input, output
    type(sublet_function), intent(in) :: func
    type(*), dimension(*), intent(in), asynchronous :: input
    integer(c_size_t), intent(in) :: input_size, output_capacity
    type(*), dimension(*), asynchronous :: output
    type(sublet_invocation), intent(inout) :: invocation
    integer(c_int) :: code
    code = c_call_async(func%handle, input, input_size, output, output_capacity, invocation%handle)
  end function

  function sublet_call_try(func, worker, input, input_size, output, output_capacity, invocation) &
      result(code)
    !GCC$ ATTRIBUTES NO_ARG_CHECK :: input, output
    type(sublet_function), intent(in) :: func
    type(*), dimension(*), intent(in), asynchronous :: input
    integer(c_size_t), intent(in) :: worker, input_size, output_capacity
    type(*), dimension(*), asynchronous :: output
    type(sublet_invocation), intent(inout) :: invocation
    integer(c_int) :: code
    code = c_call_try(func%handle, worker, input, input_size, output, output_capacity, &
                      invocation%handle)
  end function

  function sublet_invocation_poll(invocation, ended) result(code)
    type(sublet_invocation), intent(in) :: invocation
    logical, intent(inout) :: ended
    integer(c_int) :: code
    integer(c_int) :: has_ended
    has_ended = 0
    code = c_invocation_poll(invocation%handle, has_ended)
    if (code == sublet_success) ended = has_ended /= 0
  end function

  function sublet_invocation_wait(invocation, reply) result(code)
    type(sublet_invocation), intent(in) :: invocation
    type(sublet_reply), intent(inout), optional :: reply
    integer(c_int) :: code
    code = c_invocation_wait(invocation%handle, reply)
  end function

  function sublet_invocation_wait_for(invocation, limit_ns, reply) result(code)
    type(sublet_invocation), intent(in) :: invocation
    integer(c_int64_t), intent(in) :: limit_ns
    type(sublet_reply), intent(inout), optional :: reply
    integer(c_int) :: code
    code = c_invocation_wait_for(invocation%handle, limit_ns, reply)
  end function

  function sublet_invocation_then(invocation, then, context) result(code)
    type(sublet_invocation), intent(inout) :: invocation
    procedure(sublet_continuation) :: then
    type(c_ptr), intent(in) :: context
    integer(c_int) :: code
    code = c_invocation_then(invocation%handle, c_funloc(then), context)
  end function

  function sublet_invocation_free(invocation) result(code)
    type(sublet_invocation), intent(inout) :: invocation
    integer(c_int) :: code
    code = c_invocation_free(invocation%handle)
  end function

  ! Without a limit: -1.
  function sublet_batch(func, items, limit_ns, failed) result(code)
    type(sublet_function), intent(in) :: func
    type(sublet_item), intent(inout), contiguous :: items(:)
    integer(c_int64_t), intent(in) :: limit_ns
    integer(c_size_t), intent(inout), optional :: failed
    integer(c_int) :: code
    code = c_batch(func%handle, items, size(items, kind=c_size_t), limit_ns, failed)
  end function

  ! Runs the loop to its end, shared out between this thread and the workers of the function's lease.
  function sublet_offload_for(func, loop, report) result(code)
    type(sublet_function), intent(in) :: func
    type(sublet_loop), intent(in) :: loop
    type(sublet_loop_report), intent(inout), optional :: report
    integer(c_int) :: code
    code = c_offload_for(func%handle, loop, report)
  end function
end module sublet_call_f08
