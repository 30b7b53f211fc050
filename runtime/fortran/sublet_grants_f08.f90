! Grants, and lists of nodes and leases: <sublet/grants.h>, a part of sublet_f08.
module sublet_grants_f08
  use, intrinsic :: iso_c_binding
  use sublet_types_f08
  use sublet_codes_f08
  use sublet_text_f08
  implicit none
  private
  public :: sublet_grants, sublet_holder, sublet_session_holder, sublet_node_info, &
    sublet_lease_info, sublet_session_open_detached, &
    sublet_session_manager_is_private, sublet_session_request, sublet_grants_parts, &
    sublet_grants_pack, sublet_grants_unpack, sublet_grants_give_back, sublet_grants_free, &
    sublet_lease_claim, sublet_session_nodes, sublet_session_leases

  type :: sublet_grants
    type(c_ptr) :: handle = c_null_ptr
  end type

  ! A session that claims: the public half of its key, no secret.
  type, bind(c) :: sublet_holder
    integer(c_int8_t) :: key(32) = 0
  end type

  ! Texts are ended by c_null_char.
  type, bind(c) :: sublet_node_info
    character(kind=c_char) :: name(256) = c_null_char
    character(kind=c_char) :: state(16) = c_null_char
    character(kind=c_char) :: cpuset(256) = c_null_char
    integer(c_int32_t) :: cores = 0
    integer(c_int32_t) :: free_cores = 0
    integer(c_int32_t) :: widest_worker = 0
    integer(c_int32_t) :: gpus = 0
    integer(c_int32_t) :: free_gpus = 0
    integer(c_int64_t) :: memory_bytes = 0
    integer(c_int64_t) :: free_memory_bytes = 0
    integer(c_int64_t) :: heartbeat_age_ms = 0
  end type
  type, bind(c) :: sublet_lease_info
    integer(c_int64_t) :: id = 0
    character(kind=c_char) :: state(16) = c_null_char
    character(kind=c_char) :: owner(256) = c_null_char
    character(kind=c_char) :: nodes(512) = c_null_char
    integer(c_int32_t) :: cores = 0
    integer(c_int32_t) :: gpus = 0
    integer(c_int64_t) :: expires_unix_ms = 0
    type(sublet_usage) :: usage
  end type

  interface
    function c_open_detached(options, session) bind(c, name='sublet_session_open_detached')
      import
      type(c_ptr), value :: options
      type(c_ptr), intent(inout) :: session
      integer(c_int) :: c_open_detached
    end function
    function c_is_private(session, is_private) bind(c, name='sublet_session_manager_is_private')
      import
      type(c_ptr), value :: session
      integer(c_int), intent(inout) :: is_private
      integer(c_int) :: c_is_private
    end function
    function c_holder(session, holder) bind(c, name='sublet_session_holder')
      import
      type(c_ptr), value :: session
      type(sublet_holder), intent(inout) :: holder
      integer(c_int) :: c_holder
    end function
    function c_request(session, cores, parts, holders, options, grants) &
        bind(c, name='sublet_session_request')
      import
      type(c_ptr), value :: session
      integer(c_int), value :: cores, parts
      type(sublet_holder), intent(in), optional :: holders(*)
      type(c_ptr), value :: options
      type(c_ptr), intent(inout) :: grants
      integer(c_int) :: c_request
    end function
    function c_parts(grants, parts) bind(c, name='sublet_grants_parts')
      import
      type(c_ptr), value :: grants
      integer(c_size_t), intent(inout) :: parts
      integer(c_int) :: c_parts
    end function
    function c_pack(grants, part, bytes, capacity, size) bind(c, name='sublet_grants_pack')
      import
      type(c_ptr), value :: grants
      integer(c_size_t), value :: part
      integer(c_int8_t), intent(inout), optional :: bytes(*)
      integer(c_size_t), value :: capacity
      integer(c_size_t), intent(inout) :: size
      integer(c_int) :: c_pack
    end function
    function c_unpack(bytes, size, grants) bind(c, name='sublet_grants_unpack')
      import
      integer(c_int8_t), intent(in) :: bytes(*)
      integer(c_size_t), value :: size
      type(c_ptr), intent(inout) :: grants
      integer(c_int) :: c_unpack
    end function
    function c_give_back(session, grants) bind(c, name='sublet_grants_give_back')
      import
      type(c_ptr), value :: session, grants
      integer(c_int) :: c_give_back
    end function
    function c_free(grants) bind(c, name='sublet_grants_free')
      import
      type(c_ptr), intent(inout) :: grants
      integer(c_int) :: c_free
    end function
    function c_claim(session, grants, options, lease) bind(c, name='sublet_lease_claim')
      import
      type(c_ptr), value :: session, grants, options
      type(c_ptr), intent(inout) :: lease
      integer(c_int) :: c_claim
    end function
    function c_nodes(session, nodes, capacity, count) bind(c, name='sublet_session_nodes')
      import
      type(c_ptr), value :: session
      type(sublet_node_info), intent(inout), optional :: nodes(*)
      integer(c_size_t), value :: capacity
      integer(c_size_t), intent(inout) :: count
      integer(c_int) :: c_nodes
    end function
    function c_leases(session, leases, capacity, count) bind(c, name='sublet_session_leases')
      import
      type(c_ptr), value :: session
      type(sublet_lease_info), intent(inout), optional :: leases(*)
      integer(c_size_t), value :: capacity
      integer(c_size_t), intent(inout) :: count
      integer(c_int) :: c_leases
    end function
  end interface

contains

  function sublet_session_open_detached(session, options) result(code)
    type(sublet_session), intent(inout) :: session
    type(sublet_options), intent(in), optional :: options
    integer(c_int) :: code
    code = c_open_detached(handle_of(options), session%handle)
  end function

  function sublet_session_manager_is_private(session, is_private) result(code)
    type(sublet_session), intent(in) :: session
    logical, intent(inout) :: is_private
    integer(c_int) :: code
    integer(c_int) :: flag
    flag = 0
    code = c_is_private(session%handle, flag)
    if (code == sublet_success) is_private = flag /= 0
  end function

  ! Who the session is when it claims.
  function sublet_session_holder(session, holder) result(code)
    type(sublet_session), intent(in) :: session
    type(sublet_holder), intent(inout) :: holder
    integer(c_int) :: code
    code = c_holder(session%handle, holder)
  end function

  ! `holders` are the sessions that will claim, one for each part; without them this one claims all.
  function sublet_session_request(session, cores, parts, grants, options, holders) result(code)
    type(sublet_session), intent(in) :: session
    integer(c_int), intent(in) :: cores, parts
    type(sublet_grants), intent(inout) :: grants
    type(sublet_options), intent(in), optional :: options
    type(sublet_holder), intent(in), contiguous, optional :: holders(:)
    integer(c_int) :: code
    if (present(holders)) then
      if (size(holders) /= parts) then
        code = sublet_err_count
        return
      end if
    end if
    code = c_request(session%handle, cores, parts, holders, handle_of(options), grants%handle)
  end function

  function sublet_grants_parts(grants, parts) result(code)
    type(sublet_grants), intent(in) :: grants
    integer(c_size_t), intent(inout) :: parts
    integer(c_int) :: code
    code = c_parts(grants%handle, parts)
  end function

  ! Parts count from 0. `bytes` gets the size that is needed.
  function sublet_grants_pack(grants, part, bytes) result(code)
    type(sublet_grants), intent(in) :: grants
    integer(c_size_t), intent(in) :: part
    integer(c_int8_t), allocatable, intent(out) :: bytes(:)
    integer(c_int) :: code
    integer(c_size_t) :: needed
    needed = 0
    code = c_pack(grants%handle, part, capacity=0_c_size_t, size=needed)
    allocate (bytes(needed))
    if (code == sublet_success) code = c_pack(grants%handle, part, bytes, needed, needed)
  end function

  function sublet_grants_unpack(bytes, grants) result(code)
    integer(c_int8_t), intent(in), contiguous :: bytes(:)
    type(sublet_grants), intent(inout) :: grants
    integer(c_int) :: code
    code = c_unpack(bytes, size(bytes, kind=c_size_t), grants%handle)
  end function

  function sublet_grants_give_back(session, grants) result(code)
    type(sublet_session), intent(in) :: session
    type(sublet_grants), intent(in) :: grants
    integer(c_int) :: code
    code = c_give_back(session%handle, grants%handle)
  end function

  function sublet_grants_free(grants) result(code)
    type(sublet_grants), intent(inout) :: grants
    integer(c_int) :: code
    code = c_free(grants%handle)
  end function

  function sublet_lease_claim(session, grants, lease, options) result(code)
    type(sublet_session), intent(in) :: session
    type(sublet_grants), intent(in) :: grants
    type(sublet_lease), intent(inout) :: lease
    type(sublet_options), intent(in), optional :: options
    integer(c_int) :: code
    code = c_claim(session%handle, grants%handle, handle_of(options), lease%handle)
  end function

  ! All nodes, and all leases, as they are at one moment.
  function sublet_session_nodes(session, nodes) result(code)
    type(sublet_session), intent(in) :: session
    type(sublet_node_info), allocatable, intent(out) :: nodes(:)
    integer(c_int) :: code
    integer(c_size_t) :: count
    count = 0
    do
      if (allocated(nodes)) deallocate (nodes)
      allocate (nodes(count))
      code = c_nodes(session%handle, nodes, size(nodes, kind=c_size_t), count)
      if (code /= sublet_success .or. count <= size(nodes)) exit
    end do
    if (code == sublet_success) nodes = nodes(:count)
  end function

  function sublet_session_leases(session, leases) result(code)
    type(sublet_session), intent(in) :: session
    type(sublet_lease_info), allocatable, intent(out) :: leases(:)
    integer(c_int) :: code
    integer(c_size_t) :: count
    count = 0
    do
      if (allocated(leases)) deallocate (leases)
      allocate (leases(count))
      code = c_leases(session%handle, leases, size(leases, kind=c_size_t), count)
      if (code /= sublet_success .or. count <= size(leases)) exit
    end do
    if (code == sublet_success) leases = leases(:count)
  end function
end module sublet_grants_f08
