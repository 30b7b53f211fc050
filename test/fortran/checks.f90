! Checks for tests that are written in Fortran: a failure is said and counted, and the program goes on.
module checks
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: error_unit
  use sublet_f08
  implicit none
  integer :: failures = 0

contains

  subroutine check(condition, what)
    logical, intent(in) :: condition
    character(len=*), intent(in) :: what
    if (condition) return
    failures = failures + 1
    write (error_unit, '(a)') 'not so: '//what//'; last error: '//sublet_last_error()
  end subroutine

  subroutine check_code(expected, code, what)
    integer(c_int), intent(in) :: expected, code
    character(len=*), intent(in) :: what
    if (code == expected) return
    failures = failures + 1
    write (error_unit, '(a, i0, a)') what//' gives ', code, ' ('//sublet_error_string(code)// &
      '), not '//sublet_error_string(expected)//'; last error: '//sublet_last_error()
  end subroutine

  subroutine check_ok(code, what)
    integer(c_int), intent(in) :: code
    character(len=*), intent(in) :: what
    call check_code(sublet_success, code, what)
  end subroutine
end module checks
