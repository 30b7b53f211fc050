! Sublet for Fortran: the calls of <sublet.h>, under the same names and with the same meaning, which
! is described there.
!
!   code = sublet_session_open(session)
!   if (code == sublet_success) code = sublet_lease_open(session, 2, lease)
!   if (code == sublet_success) code = sublet_function_open(lease, 'libshapes.so', 'norm', norm)
!   if (code == sublet_success) &
!     code = sublet_call(norm, point, c_sizeof(point), length, c_sizeof(length))
!   if (code /= sublet_success) print '(a)', sublet_last_error()
!   code = sublet_function_free(norm)
!
! Functions return sublet_success or one of the codes sublet_err_...; they print nothing and stop
! nothing. Optional arguments come last. Sizes are integer(c_size_t) in bytes, as c_sizeof() gives
! them; a negative one is sublet_err_count.
!
! Input and output are scalars or arrays of any type, passed by their address. They must be contiguous:
! of a section that is not, the compiler passes a copy, which is gone when the function returns. For
! sublet_call_async, sublet_call_try and sublet_batch they must stay until the call has ended; give
! variables the attributes target or asynchronous, or use sublet_buffer_create.
!
! Thread rule: as in <sublet.h>: one thread at a time uses a lease and all that came from it.
module sublet_f08
  use sublet_call_f08
  use sublet_codes_f08
  use sublet_grants_f08
  use sublet_lease_f08
  use sublet_text_f08, only: sublet_error_string, sublet_last_error
  use sublet_types_f08
  implicit none
  public
end module sublet_f08
