! Calls with data that MPI datatypes describe: a part of sublet_mpi_f08.
module sublet_mpi_call_f08
  use, intrinsic :: iso_c_binding
  use sublet_f08
  implicit none
  private
  public :: sublet_allocator, sublet_mpi_persistent, sublet_mpi_call, sublet_mpi_call_init, &
    sublet_mpi_start, sublet_mpi_test, sublet_mpi_wait, sublet_mpi_wait_for, sublet_mpi_call_free

  type :: sublet_allocator
    type(c_ptr) :: handle = c_null_ptr
  end type
  type :: sublet_mpi_persistent
    type(c_ptr) :: handle = c_null_ptr
  end type

  interface
    function c_call(allocator, func, input, in_count, in_type, output, out_count, out_type, reply) &
        bind(c, name='sublet_mpi_call_fint')
      import
      !GCC$ ATTRIBUTES NO_ARG_CHECK :: input, output
      type(c_ptr), value :: allocator, func
      type(*), dimension(*), intent(in) :: input
      integer(c_int64_t), value :: in_count, out_count
      integer(c_int), value :: in_type, out_type
      type(*), dimension(*) :: output
      type(sublet_reply), intent(inout), optional :: reply
      integer(c_int) :: c_call
    end function
    function c_call_init(allocator, func, input, in_count, in_type, output, out_count, out_type, &
                         call) bind(c, name='sublet_mpi_call_init_fint')
      import
      !GCC$ ATTRIBUTES NO_ARG_CHECK :: input, output
      type(c_ptr), value :: allocator, func
      type(*), dimension(*), intent(in) :: input
      integer(c_int64_t), value :: in_count, out_count
      integer(c_int), value :: in_type, out_type
      type(*), dimension(*) :: output
      type(c_ptr), intent(inout) :: call
      integer(c_int) :: c_call_init
    end function
    function c_start(call) bind(c, name='sublet_mpi_start')
      import
      type(c_ptr), value :: call
      integer(c_int) :: c_start
    end function
    function c_test(call, ended) bind(c, name='sublet_mpi_test')
      import
      type(c_ptr), value :: call
      integer(c_int), intent(inout) :: ended
      integer(c_int) :: c_test
    end function
    function c_wait_for(call, limit_ns, reply) bind(c, name='sublet_mpi_wait_for')
      import
      type(c_ptr), value :: call
      integer(c_int64_t), value :: limit_ns
      type(sublet_reply), intent(inout), optional :: reply
      integer(c_int) :: c_wait_for
    end function
    function c_call_free(call) bind(c, name='sublet_mpi_call_free')
      import
      type(c_ptr), intent(inout) :: call
      integer(c_int) :: c_call_free
    end function
  end interface

contains

  ! Counts have 64 bits: those of MPI_COUNT_KIND.
  function sublet_mpi_call(allocator, func, input, in_count, in_type, output, out_count, out_type, &
                           reply) result(error)
    !GCC$ ATTRIBUTES NO_ARG_CHECK :: input, output
    type(sublet_allocator), intent(in) :: allocator
    type(sublet_function), intent(in) :: func
    type(*), dimension(*), intent(in) :: input
    integer(c_int64_t), intent(in) :: in_count, out_count
    integer(c_int), intent(in) :: in_type, out_type
    type(*), dimension(*) :: output
    type(sublet_reply), intent(inout), optional :: reply
    integer(c_int) :: error
    error = c_call(allocator%handle, func%handle, input, in_count, in_type, output, out_count, &
                   out_type, reply)
  end function

  ! Input and output must stay where they are until sublet_mpi_call_free, and be declared
  ! asynchronous by the caller.
  function sublet_mpi_call_init(allocator, func, input, in_count, in_type, output, out_count, &
                                out_type, call) result(error)
    !GCC$ ATTRIBUTES NO_ARG_CHECK :: input, output
    type(sublet_allocator), intent(in) :: allocator
    type(sublet_function), intent(in) :: func
    type(*), dimension(*), intent(in), asynchronous :: input
    integer(c_int64_t), intent(in) :: in_count, out_count
    integer(c_int), intent(in) :: in_type, out_type
    type(*), dimension(*), asynchronous :: output
    type(sublet_mpi_persistent), intent(inout) :: call
    integer(c_int) :: error
    error = c_call_init(allocator%handle, func%handle, input, in_count, in_type, output, &
                        out_count, out_type, call%handle)
  end function

  function sublet_mpi_start(call) result(error)
    type(sublet_mpi_persistent), intent(in) :: call
    integer(c_int) :: error
    error = c_start(call%handle)
  end function

  function sublet_mpi_test(call, ended) result(error)
    type(sublet_mpi_persistent), intent(in) :: call
    logical, intent(inout) :: ended
    integer(c_int) :: error
    integer(c_int) :: has_ended
    has_ended = 0
    error = c_test(call%handle, has_ended)
    if (error == sublet_success) ended = has_ended /= 0
  end function

  function sublet_mpi_wait(call, reply) result(error)
    type(sublet_mpi_persistent), intent(in) :: call
    type(sublet_reply), intent(inout), optional :: reply
    integer(c_int) :: error
    error = c_wait_for(call%handle, -1_c_int64_t, reply)
  end function

  function sublet_mpi_wait_for(call, limit_ns, reply) result(error)
    type(sublet_mpi_persistent), intent(in) :: call
    integer(c_int64_t), intent(in) :: limit_ns
    type(sublet_reply), intent(inout), optional :: reply
    integer(c_int) :: error
    error = c_wait_for(call%handle, limit_ns, reply)
  end function

  function sublet_mpi_call_free(call) result(error)
    type(sublet_mpi_persistent), intent(inout) :: call
    integer(c_int) :: error
    error = c_call_free(call%handle)
  end function
end module sublet_mpi_call_f08
