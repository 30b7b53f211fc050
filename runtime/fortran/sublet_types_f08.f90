! The types of sublet_f08: handles, what <sublet.h> has as structs, and the forms of callbacks.
module sublet_types_f08
  use, intrinsic :: iso_c_binding
  implicit none
  public

  ! Handles; null until they are opened and after they are freed.
  type :: sublet_options
    type(c_ptr) :: handle = c_null_ptr
  end type
  type :: sublet_session
    type(c_ptr) :: handle = c_null_ptr
  end type
  type :: sublet_lease
    type(c_ptr) :: handle = c_null_ptr
  end type
  type :: sublet_buffer
    type(c_ptr) :: handle = c_null_ptr
  end type
  type :: sublet_function
    type(c_ptr) :: handle = c_null_ptr
  end type
  type :: sublet_invocation
    type(c_ptr) :: handle = c_null_ptr
  end type

  type, bind(c) :: sublet_reply
    integer(c_int) :: code = 0
    integer(c_int32_t) :: worker = 0
    integer(c_int64_t) :: size = 0
    integer(c_int64_t) :: exec_ns = 0
  end type

  type, bind(c) :: sublet_usage
    integer(c_int64_t) :: invocations = 0
    integer(c_int64_t) :: compute_ns = 0
    integer(c_int64_t) :: hot_poll_ns = 0
    integer(c_int64_t) :: bytes_in = 0
    integer(c_int64_t) :: bytes_out = 0
    real(c_double) :: core_seconds = 0
    real(c_double) :: gpu_seconds = 0
  end type

  type, bind(c) :: sublet_worker_info
    character(kind=c_char) :: node_name(256) = c_null_char  ! Ended by c_null_char, as the others.
    character(kind=c_char) :: cpuset(256) = c_null_char
    character(kind=c_char) :: transport(16) = c_null_char
    character(kind=c_char) :: gpus(256) = c_null_char
  end type

  ! One item of a batch; c_loc() gives the addresses.
  type, bind(c) :: sublet_item
    type(c_ptr) :: in = c_null_ptr
    integer(c_size_t) :: in_size = 0
    type(c_ptr) :: out = c_null_ptr
    integer(c_size_t) :: out_capacity = 0
    type(sublet_reply) :: reply
  end type

  ! A loop to be shared out, as in <sublet/loop.h>: c_loc() gives the addresses, c_funloc() the
  ! procedures, which have the forms below. Items are counted from 0.
  type, bind(c) :: sublet_loop
    integer(c_size_t) :: count = 0
    integer(c_size_t) :: in_item = 0
    type(c_ptr) :: in = c_null_ptr
    integer(c_size_t) :: out_item = 0
    type(c_ptr) :: out = c_null_ptr
    type(c_funptr) :: combine = c_null_funptr
    type(c_funptr) :: here = c_null_funptr
    type(c_ptr) :: context = c_null_ptr
    integer(c_size_t) :: least_items = 0
  end type

  type, bind(c) :: sublet_loop_report
    integer(c_int64_t) :: here = 0
    integer(c_int64_t) :: on_workers = 0
    integer(c_int64_t) :: again = 0
    integer(c_int64_t) :: calls = 0
    integer(c_int) :: stopped = 0
    character(kind=c_char) :: why(192) = c_null_char
  end type

  abstract interface
    subroutine sublet_loop_body(first, count, in, out, context) bind(c)
      import :: c_size_t, c_ptr
      integer(c_size_t), value :: first, count
      type(c_ptr), value :: in, out, context
    end subroutine
    subroutine sublet_loop_combine(partial, context) bind(c)
      import :: c_ptr
      type(c_ptr), value :: partial, context
    end subroutine
    subroutine sublet_continuation(reply, context) bind(c)
      import :: sublet_reply, c_ptr
      type(sublet_reply), intent(in) :: reply
      type(c_ptr), value :: context
    end subroutine
    ! `reason` is ended by c_null_char. Both run on a helper thread.
    subroutine sublet_ending_callback(left_ms, reason, leaving, context) bind(c)
      import :: c_int64_t, c_char, c_int, c_ptr
      integer(c_int64_t), value :: left_ms
      character(kind=c_char), intent(in) :: reason(*)
      integer(c_int), value :: leaving
      type(c_ptr), value :: context
    end subroutine
    subroutine sublet_lost_callback(reason, context) bind(c)
      import :: c_char, c_ptr
      character(kind=c_char), intent(in) :: reason(*)
      type(c_ptr), value :: context
    end subroutine
  end interface
end module sublet_types_f08
