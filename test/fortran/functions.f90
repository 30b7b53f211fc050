! What the tests of the Fortran modules call: a function library in Fortran.
module test_functions
  use, intrinsic :: iso_c_binding
  use sublet_function_f08
  implicit none

  type(sublet_function_info), bind(c, name='sublet_function_info_add_one') :: add_one_info = &
    sublet_function_info()

contains

  ! Any number of reals in; each plus one, out.
  function add_one(call) result(code) bind(c, name='add_one')
    type(sublet_function_call), intent(inout) :: call
    integer(c_int32_t) :: code
    real(c_double), pointer :: in(:), out(:)
    integer(c_int64_t) :: count
    count = call%input_size / 8
    call%output_size = 8 * count
    code = sublet_output_too_large
    if (call%output_size > call%output_capacity) return
    call c_f_pointer(call%input, in, [count])
    call c_f_pointer(call%output, out, [count])
    out = in + 1
    code = 0
  end function

  ! In the rFaaS form: the sum of some integers.
  function total(args, size, res) result(written) bind(c, name='total')
    type(c_ptr), value :: args, res
    integer(c_int32_t), value :: size
    integer(c_int32_t) :: written
    integer(c_int64_t), pointer :: in(:), sum_of
    call c_f_pointer(args, in, [size / 8])
    call c_f_pointer(res, sum_of)
    sum_of = sum(in)
    written = 8
  end function
end module test_functions
