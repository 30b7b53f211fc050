! A function library in Fortran.
module functions
  use, intrinsic :: iso_c_binding
  use sublet_function_f08
  implicit none

  ! Marks sum_of_squares as a function in the typed form.
  type(sublet_function_info), bind(c, name='sublet_function_info_sum_of_squares') :: &
    sum_of_squares_info = sublet_function_info()

contains

  ! Any number of reals in, the sum of their squares out.
  function sum_of_squares(call) result(code) bind(c, name='sum_of_squares')
    type(sublet_function_call), intent(inout) :: call
    integer(c_int32_t) :: code
    real(c_double), pointer :: values(:), total
    call%output_size = 8
    code = sublet_output_too_large
    if (call%output_capacity < 8) return
    call c_f_pointer(call%input, values, [call%input_size / 8])
    call c_f_pointer(call%output, total)
    total = sum(values**2)
    code = 0
  end function
end module functions
