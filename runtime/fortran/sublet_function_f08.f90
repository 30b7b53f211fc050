! For authors of function libraries in Fortran: what <sublet/function_abi.h> says. Types only: a
! library that uses this module links nothing of Sublet.
!
!   module work
!     use, intrinsic :: iso_c_binding
!     use sublet_function_f08
!     implicit none
!     type(sublet_function_info), bind(c, name='sublet_function_info_total') :: total_info = &
!       sublet_function_info()
!   contains
!     function total(call) result(code) bind(c, name='total')
!       type(sublet_function_call), intent(inout) :: call
!       ...
!
! exports `total` in the typed form: the variable that is named after it marks it.
module sublet_function_f08
  use, intrinsic :: iso_c_binding
  implicit none
  private
  public :: sublet_function_info, sublet_function_call, sublet_output_too_large

  ! What a function returns when output_capacity does not hold its output; 0 is success, any other
  ! number its own error.
  integer(c_int32_t), parameter :: sublet_output_too_large = -1

  type, bind(c) :: sublet_function_info
    integer(c_int32_t) :: abi_version = 1
    integer(c_int32_t) :: flags = 0
    integer(c_int64_t) :: input_size = 0   ! Of a fixed size, else 0.
    integer(c_int64_t) :: output_size = 0  ! Of a fixed size, else 0.
  end type

  ! One invocation. Sizes are in bytes. The memory is the executor's, valid until the function
  ! returns: c_f_pointer makes arrays of it.
  type, bind(c) :: sublet_function_call
    type(c_ptr) :: input
    integer(c_int64_t) :: input_size
    type(c_ptr) :: output
    integer(c_int64_t) :: output_capacity
    integer(c_int64_t) :: output_size      ! To be set, at most output_capacity.
    type(c_ptr) :: error_text              ! To be written on failure, ended by c_null_char.
    integer(c_int64_t) :: error_capacity
  end type
end module sublet_function_f08
