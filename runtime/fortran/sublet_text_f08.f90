! Strings between C and Fortran, and the texts of errors.
module sublet_text_f08
  use, intrinsic :: iso_c_binding
  use sublet_types_f08
  use sublet_c_f08, only: c_error_string, c_last_error, c_strlen
  implicit none
  private
  public :: to_c, handle_of, sublet_error_string, sublet_last_error

contains

  pure function to_c(text)
    character(len=*), intent(in) :: text
    character(kind=c_char, len=:), allocatable :: to_c
    to_c = trim(text)//c_null_char
  end function

  function from_c(text)
    type(c_ptr), intent(in) :: text
    character(len=:), allocatable :: from_c
    character(kind=c_char), pointer :: letters(:)
    integer :: i
    call c_f_pointer(text, letters, [c_strlen(text)])
    allocate (character(len=size(letters)) :: from_c)
    do i = 1, size(letters)
      from_c(i:i) = letters(i)
    end do
  end function

  pure function handle_of(options)
    type(sublet_options), intent(in), optional :: options
    type(c_ptr) :: handle_of
    handle_of = c_null_ptr
    if (present(options)) handle_of = options%handle
  end function

  function sublet_error_string(code) result(text)
    integer(c_int), intent(in) :: code
    character(len=:), allocatable :: text
    text = from_c(c_error_string(code))
  end function

  function sublet_last_error() result(text)
    character(len=:), allocatable :: text
    text = from_c(c_last_error())
  end function
end module sublet_text_f08
